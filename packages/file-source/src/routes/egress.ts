import type { Backend, Egress, Route } from '@meshgate/core';
import { ADDRESS_OR_BLOCK_FORM, defined, isAddressOrBlock } from '@meshgate/core/parts';
import type { Field, Parsed } from '@meshgate/documents';
import { readBackend } from './backend.ts';

/** Keys of `egress`. */
export const EGRESS_KEYS = { port: 'optional', allowAddresses: 'optional' } as const;

const HTTPS = 443;
const MAX_PORT = 65_535;

/** The settings that determine the destination of a route: backends, or the server name itself. */
export interface RouteTarget {
  readonly backends: Field | undefined;
  readonly egress: Field | undefined;
  readonly serverNames: Field | undefined;
  readonly fallback: Field | undefined;
  /** The settings of the route that select among backends. */
  readonly choices: readonly Field[];
}

/** Reads the backends of a route, or its egress. Records a problem and returns `undefined` when they are invalid. */
export function readDestination(from: RouteTarget): Pick<Route, 'backends' | 'egress'> | undefined {
  const { backends, egress, choices } = from;
  if (egress === undefined) {
    const read = backends?.list()?.map(readBackend);
    return read && { backends: read.filter((backend): backend is Backend => backend !== undefined) };
  }
  backends?.refuse('a route with egress forwards to the server name itself and has no backends');
  for (const choice of choices) choice.refuse('a route with egress has no backends to choose from');
  refuseAnyName(from);
  const settings = readEgress(egress);
  return settings && { backends: [], egress: settings };
}

/** Rejects egress for arbitrary names, which would make an open proxy. */
function refuseAnyName({ serverNames, fallback }: RouteTarget): void {
  for (const name of serverNames?.shape === 'list' ? (serverNames.list() ?? []) : [])
    if (name.plain() === '*') name.refuse('egress needs exact names or suffixes: "*" would be an open proxy');
  if (fallback?.plain() === true) fallback.refuse('egress needs a server name: a fallback has none');
}

function readEgress(field: Field): Egress | undefined {
  const fields = field.record(EGRESS_KEYS);
  if (fields === undefined) return undefined;
  const port = fields.has('port') ? fields.get('port')?.integer(1, MAX_PORT) : HTTPS;
  const networks = fields.get('allowAddresses')?.list();
  const allowAddresses = networks?.flatMap((network) => network.parsed(parseNetwork) ?? []);
  if (port === undefined) return undefined;
  return { port, ...defined({ allowAddresses }) };
}

function parseNetwork(text: string): Parsed<string> {
  return isAddressOrBlock(text) ? { kind: 'value', value: text } : { kind: 'refused', expected: ADDRESS_OR_BLOCK_FORM };
}
