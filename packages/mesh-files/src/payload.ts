import type { Field } from '@meshgate/documents';
import { folded } from './keys.ts';
import { SERVICE_KINDS } from './registration.ts';

/**
 * What to say of a file that holds a body of Consul's HTTP API: it looks like a definition, and neither Consul's commands nor its agents
 * take it for one.
 *
 * @returns `undefined` for everything else
 */
export function payloadOf(root: Field): string | undefined {
  if (root.shape !== 'mapping') return undefined;
  const values = new Map((root.entries() ?? []).map(({ key, value }) => [folded(key), value]));
  const has = (...keys: readonly string[]): boolean => keys.some((key) => values.has(key));
  if (has('node') && has('address', 'service', 'services', 'check', 'checks')) return CATALOG;
  const kind = values.get('kind')?.plain();
  const isProxy = kind === 'connect-proxy' || kind === 'mesh-gateway';
  const isService = kind === undefined || kind === '' || SERVICE_KINDS.some((one) => one === kind);
  return isProxy || (isService && has('name', 'id') && has(...REGISTRATION_KEYS)) ? REGISTRATION : undefined;
}

/** Keys of a registration that no entry of the same kind has. */
const REGISTRATION_KEYS = ['port', 'address', 'tags', 'proxy', 'connect', 'weights', 'taggedaddresses', 'check'];

const CATALOG =
  "expected service definitions or an entry, found a body of catalog/register in Consul's HTTP API: write what stands under Service " +
  'as service { … }, with name in the place of its Service key';

const REGISTRATION =
  "expected service definitions or an entry, found a registration as Consul's HTTP API takes it: write service { … } around it";
