import type { Field } from '@meshgate/documents';
import { foldedValues } from './keys.ts';
import { SERVICE_KINDS } from './registration.ts';

/**
 * Returns the problem of a file with a request or response body of Consul's HTTP API: it resembles a definition, but
 * neither Consul's commands nor its agents accept it.
 *
 * @returns `undefined` for any other file
 */
export function payloadOf(root: Field): string | undefined {
  if (root.shape === 'list') return responseOf(root.list()?.[0]);
  if (root.shape !== 'mapping') return undefined;
  const values = foldedValues(root);
  const has = (...keys: readonly string[]): boolean => keys.some((key) => values.has(key));
  if (has('apiversion') && has('metadata', 'spec')) return RESOURCE;
  const [first] = values.values();
  if (!has(...FILE_KEYS) && first?.shape === 'mapping' && isInstance(foldedValues(first))) return RESPONSE;
  if (has('node') && has('address', 'service', 'services', 'check', 'checks')) return CATALOG;
  const kind = values.get('kind')?.plain();
  const isProxy = kind === 'connect-proxy' || kind === 'mesh-gateway';
  const isService = kind === undefined || kind === '' || SERVICE_KINDS.some((one) => one === kind);
  return isProxy || (isService && has('name', 'id') && has(...REGISTRATION_KEYS)) ? REGISTRATION : undefined;
}

/** Detects a response by the first element of its list: an entry, or an instance with its node and checks. */
function responseOf(first: Field | undefined): string | undefined {
  if (first?.shape !== 'mapping') return undefined;
  const values = foldedValues(first);
  if (values.has('node') || values.has('servicename') || isInstance(values)) return RESPONSE;
  return values.has('kind') ? ENTRIES : undefined;
}

/** Detects an element of `agent/services` or `catalog/service`. */
function isInstance(values: ReadonlyMap<string, Field>): boolean {
  return values.has('service') && (values.has('id') || values.has('port'));
}

/** Keys of valid files, which are none of these bodies. */
const FILE_KEYS = ['kind', 'service', 'services', 'check', 'checks', 'configentries'];

/** Keys of a registration that an entry of the same kind does not have. */
const REGISTRATION_KEYS = ['port', 'address', 'tags', 'proxy', 'connect', 'weights', 'taggedaddresses', 'check'];

const EXPECTED = 'expected service definitions or an entry, found';

const RESPONSE = `${EXPECTED} a response of Consul's HTTP API: write each instance as service { … }, and rename its Service key to name`;

const ENTRIES = `${EXPECTED} a list of entries: write each into a separate file, or all of them as config_entries { bootstrap = [ … ] }`;

const RESOURCE = `${EXPECTED} a resource of Kubernetes: write the content of spec next to kind and name, such as kind = "service-resolver"`;

const CATALOG =
  "expected service definitions or an entry, found a body of catalog/register in Consul's HTTP API: write the content of Service " +
  'as service { … }, and rename its Service key to name';

const REGISTRATION =
  "expected service definitions or an entry, found a registration for Consul's HTTP API: wrap it in service { … }";
