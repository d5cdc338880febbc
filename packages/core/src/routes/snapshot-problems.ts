import { isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import { types } from 'node:util';
import {
  checkFields,
  integer,
  isBoolean,
  isFilled,
  isPositive,
  isRecord,
  isString,
  listOf,
  oneOf,
  optional,
  quoted,
  shape,
  wrong,
} from '../field-checks.ts';
import type { ValueCheck, FieldCheck, ObjectCheck, UnknownFields } from '../field-checks.ts';
import { isAddressOrBlock } from '../pipeline/address-set.ts';
import { formatProblem } from '../lifecycle/plugin.ts';
import type { Problem } from '../lifecycle/plugin.ts';
import { atOnce } from '../watch/turns.ts';
import type { BuiltInBalance } from './route.ts';

/** One error or warning about a snapshot. */
export interface SnapshotProblem extends Problem {
  /**
   * `error`: connections cannot be routed; the snapshot is refused as a whole. `warning`: the item at `path` has no
   * effect, the rest of the snapshot is valid.
   */
  readonly severity: 'error' | 'warning';
}

/**
 * Returns all problems of a value that a route source yielded. Assumes nothing about its type: a source may be plain
 * JavaScript. Pure; throws only if a getter or a proxy in the snapshot throws. Linear in the number of routes, names
 * and backends.
 */
export function snapshotProblems(snapshot: unknown): readonly SnapshotProblem[] {
  return atOnce(judgingSnapshot(snapshot));
}

// Between two yields: about a millisecond of work.
const ROUTES_PER_STEP = 200;

// Keeps the log entry on one line.
const MAX_SHOWN = 10;

/** Formats problems for people: the first ten, then the number of the others. */
export function shownProblems(problems: readonly Problem[]): readonly string[] {
  const shown = problems.slice(0, MAX_SHOWN).map(formatProblem);
  return problems.length > shown.length ? [...shown, `and ${problems.length - shown.length} more problems`] : shown;
}

// Bounds the memory that a broken source of 100,000 routes can fill with messages.
const MAX_PROBLEMS = 100;

/**
 * {@link snapshotProblems} in steps, so that the caller can yield to the event loop in between.
 *
 * @param versionInUse a snapshot of this version has the routes in use, which are not judged again
 */
export function* judgingSnapshot(
  snapshot: unknown,
  versionInUse?: string,
): Generator<void, readonly SnapshotProblem[]> {
  const judge = new Judge();
  if (!judge.fields(snapshot, [], SNAPSHOT)) return judge.problems;
  const { version, routes } = snapshot;
  if (!Array.isArray(routes)) return [...judge.problems, error(wrong(['routes'], 'a list', routes))];
  if (versionInUse !== undefined && version === versionInUse) return judge.problems;
  for (let index = 0; index < routes.length; index += 1) {
    judge.route(routes[index], ['routes', index]);
    if (judge.isFull) break;
    if (index % ROUTES_PER_STEP === ROUTES_PER_STEP - 1) yield;
  }
  return judge.problems;
}

/** Returns all errors of a value that a resolver returned, which should be a route; paths begin at the route. */
export function routeProblems(route: unknown): readonly SnapshotProblem[] {
  const judge = new Judge();
  judge.route(route, []);
  return judge.problems.filter(({ severity }) => severity === 'error');
}

/**
 * Returns all problems of a value that should be a list of `ListenAddress`.
 *
 * @param path path of the list; empty when absent
 */
export function listenerProblems(listed: unknown, path: Problem['path'] = []): readonly SnapshotProblem[] {
  if (!Array.isArray(listed)) return [error(wrong(path, 'a list of listeners', listed))];
  const judge = new Judge();
  for (const [index, listener] of listed.entries()) judge.fields(listener, [...path, index], LISTENER);
  return judge.problems;
}

const STRINGS = listOf(isString);
const BLOCKS = optional(listOf((value) => isString(value) && isAddressOrBlock(value)));
const ABSOLUTE_PATH = optional((value) => isString(value) && isAbsolute(value));

/** Labels of backends, and preferences among them. */
export const LABELS: ValueCheck = (value) => isRecord(value) && STRINGS(Object.values(value));

const USE = shape({ name: isFilled, settings: isRecord });

/** Rate limits. */
export const RATE: ValueCheck = shape({ count: isPositive, perMs: isPositive });

/** TCP keepalive settings. */
export const KEEP_ALIVE: ValueCheck = shape({
  idleMs: isPositive,
  intervalMs: optional(isPositive),
  probes: optional(isPositive),
  userTimeoutMs: optional(isAmount),
});

const ACCESS: readonly FieldCheck[] = [
  ['allow', 'a list of addresses and blocks', BLOCKS],
  ['deny', 'a list of addresses and blocks', BLOCKS],
  ['allowFile', 'an absolute path', ABSOLUTE_PATH],
  ['denyFile', 'an absolute path', ABSOLUTE_PATH],
];

const NAME: FieldCheck = ['name', 'a non-empty string', isFilled];
const NAMED_ROUTE: ObjectCheck = ['a route', [NAME]];
const HAS_ACCESS: FieldCheck = ['access', 'access rules', optional(isRecord), ACCESS];

/** An address to listen on. The range of the port is checked when it is bound: others of the list may be right. */
export const LISTEN_ENDPOINT: FieldCheck = [
  'endpoint',
  'an address with host and port',
  shape({ host: isFilled, port: (value) => typeof value === 'number' }),
];

const LISTENER: ObjectCheck = [
  'a listener',
  [NAME, LISTEN_ENDPOINT, ['advertised', 'a list of addresses', optional(listOf(isRecord))], HAS_ACCESS],
];

const SNAPSHOT: ObjectCheck = [
  'a snapshot',
  [
    ['version', 'a non-empty string', isFilled],
    ['asOf', 'a valid Date', optional((value) => types.isDate(value) && !Number.isNaN(value.getTime()))],
    ['warnings', 'a list of strings', optional(STRINGS)],
  ],
];

const PROXY_PROTOCOL: FieldCheck = ['proxyProtocol', 'v1, v2 or off', optional(oneOf('v1', 'v2', 'off'))];

const ADDRESS: readonly FieldCheck[] = [['host', 'a non-empty string', isFilled]];

const BACKEND: ObjectCheck = [
  'a backend',
  [
    ['address', 'an address with host and port', isRecord, ADDRESS],
    ['weight', 'an integer of 1 or more', integer(1)],
    ['healthy', 'true or false', isBoolean],
    ['priority', 'an integer of 0 or more', optional(integer(0))],
    ['labels', 'strings by name', optional(LABELS)],
    PROXY_PROTOCOL,
  ],
];

const COUNT = optional(integer(1));
const LIFETIME = optional((value) => typeof value === 'number' && value > 0);

const LIMITS: readonly FieldCheck[] = [
  ['maxAgeMs', 'a number of milliseconds above 0, or Infinity', LIFETIME],
  ['idleTimeoutMs', 'a number of milliseconds above 0, or Infinity', LIFETIME],
  ['halfCloseTimeoutMs', 'a number of milliseconds above 0, or Infinity', LIFETIME],
  ['connections', 'an integer of 1 or more', COUNT],
  ['perBackend', 'an integer of 1 or more', COUNT],
  ['rate', 'a count and a time, both above 0', optional(RATE)],
];

const BALANCES: readonly BuiltInBalance[] = ['round_robin', 'least_connections', 'random', 'client_hash', 'name_hash'];
const BALANCE = oneOf(undefined, ...BALANCES);
const BACKEND_DRAIN = optional(shape({ graceMs: isAmount, spreadMs: isAmount }));
const PORT = integer(1, 65_535);

const HEALTH_CHECK = shape({
  kind: oneOf('tcp', 'tls'),
  intervalMs: isPositive,
  timeoutMs: isPositive,
  rise: integer(1),
  fall: integer(1),
  serverName: optional(isFilled),
  slowStartMs: optional(isPositive),
  whenAllDown: oneOf(undefined, 'try', 'refuse'),
});

const ROUTE: ObjectCheck = [
  'a route',
  [
    ['withoutBackend', 'NO_BACKEND or NO_GATEWAY', oneOf(undefined, 'NO_BACKEND', 'NO_GATEWAY')],
    ['listeners', 'a list of names', optional(STRINGS)],
    ['fallback', 'true or false', optional(isBoolean)],
    ['balance', `one of ${BALANCES.join(', ')}, or { name, settings }`, (value) => BALANCE(value) || USE(value)],
    ['retryBeforeFirstByte', 'true or false', optional(isBoolean)],
    ['resetsEndWell', 'true or false', optional(isBoolean)],
    ['onBackendRemoved', '{ graceMs, spreadMs }, 0 or more each', BACKEND_DRAIN],
    ['onBackendDown', '{ graceMs, spreadMs }, 0 or more each', BACKEND_DRAIN],
    ['connectTimeoutMs', 'a number of milliseconds above 0', optional(isPositive)],
    ['keepAlive', 'keepalive times above 0', optional(KEEP_ALIVE)],
    [
      'failover',
      '{ minHealthy, returnAfterMs }: 1 or more, and 0 or more milliseconds',
      optional(shape({ minHealthy: integer(1), returnAfterMs: optional(isAmount) })),
    ],
    [
      'egress',
      '{ port, allowAddresses }: a port from 1 to 65535, and networks',
      optional(shape({ port: PORT, allowAddresses: BLOCKS })),
    ],
    [
      'healthCheck',
      'a health check: kind tcp or tls, times above 0, rise and fall of 1 or more',
      optional(HEALTH_CHECK),
    ],
    ['use', 'a list of { name, settings }', optional(listOf(USE))],
    HAS_ACCESS,
    PROXY_PROTOCOL,
    ['limits', 'limits', optional(isRecord), LIMITS],
  ],
];

function isAmount(value: unknown): boolean {
  return value === 0 || isPositive(value);
}

function error(problem: Problem): SnapshotProblem {
  return { severity: 'error', ...problem };
}

/** The problems found so far, and the route names seen. */
class Judge {
  readonly problems: SnapshotProblem[] = [];
  readonly #routeNames = new Set<string>();
  readonly #onError = (problem: Problem): void => void this.problems.push(error(problem));

  get isFull(): boolean {
    return this.problems.length >= MAX_PROBLEMS;
  }

  fields(value: unknown, path: Problem['path'], expected: ObjectCheck): value is UnknownFields {
    return checkFields(value, path, expected, this.#onError);
  }

  route(route: unknown, path: Problem['path']): void {
    if (!this.fields(route, path, NAMED_ROUTE)) return;
    const { name, serverNames, backends } = route;
    this.#routeName(name, path);
    // An empty list is valid: a resolver may select the route otherwise, as the one for a sidecar's upstreams does.
    this.#each(serverNames, [...path, 'serverNames'], (one, at) => this.#serverName(one, at));
    this.#each(backends, [...path, 'backends'], (one, at) => this.#backend(one, at));
    this.fields(route, path, ROUTE);
    this.#egress(route, path);
  }

  #routeName(name: unknown, path: Problem['path']): void {
    if (!isString(name)) return;
    if (this.#routeNames.has(name))
      this.#warn([...path, 'name'], `another route of the source is named ${quoted(name)}`);
    this.#routeNames.add(name);
  }

  #each(list: unknown, path: Problem['path'], judge: (one: unknown, path: Problem['path']) => void): void {
    if (!Array.isArray(list)) {
      this.#onError(wrong(path, 'a list', list));
      return;
    }
    for (const [index, one] of list.entries()) {
      judge(one, [...path, index]);
      if (this.isFull) return;
    }
  }

  #serverName(name: unknown, path: Problem['path']): void {
    if (!isString(name)) {
      this.#onError(wrong(path, 'a string', name));
      return;
    }
    const fault = serverNameFault(name);
    if (fault !== undefined) this.#warn(path, `no client can send the server name ${quoted(name)}: ${fault}`);
  }

  #backend(backend: unknown, path: Problem['path']): void {
    if (!this.fields(backend, path, BACKEND)) return;
    const { address } = backend;
    if (!isRecord(address)) return;
    const { host, port } = address;
    const [expected, isRight] =
      isString(host) && host.startsWith('unix:') ? UNIX_PORT : (['an integer from 1 to 65535', PORT] as const);
    if (!isRight(port)) this.#onError(wrong([...path, 'address', 'port'], expected, port));
  }

  /** Strict, because a mistake here makes an open proxy. */
  #egress({ egress, serverNames, fallback }: UnknownFields, path: Problem['path']): void {
    if (egress === undefined) return;
    const isClosed = fallback !== true && Array.isArray(serverNames) && !serverNames.includes('*');
    if (!isClosed) this.#onError(wrong([...path, 'serverNames'], 'exact names or suffixes beside egress', serverNames));
  }

  #warn(path: Problem['path'], message: string): void {
    this.problems.push({ severity: 'warning', path, message });
  }
}

const UNIX_PORT = ['0 beside a unix socket', oneOf(0)] as const;

// RFC 1123, section 2.1, plus the underscore of many internal names; lower case, like `Hello.serverName`.
const LABEL = /^[a-z0-9_-]{1,63}$/;
// RFC 1035, section 2.3.4.
const MAX_NAME_CHARS = 253;

/** Returns the reason for which no client can send `name` (RFC 6066, section 3), or `undefined`. */
function serverNameFault(name: string): string | undefined {
  if (name === '*') return undefined;
  if (name === '') return 'it is empty';
  if (name !== name.toLowerCase()) return 'it must be in lower case';
  if (name.endsWith('.')) return 'it ends in a dot';
  const host = name.startsWith('*.') ? name.slice(2) : name;
  if (isIP(host) !== 0) return 'it is an IP address';
  if (host.length > MAX_NAME_CHARS) return `it has more than ${MAX_NAME_CHARS} characters`;
  const label = host.split('.').find((one) => !LABEL.test(one));
  return label === undefined ? undefined : `${quoted(label)} is no label of a host name`;
}
