import { isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import { isAddressOrBlock } from '../pipeline/address-set.ts';
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

// Between two yields: about 0.1 ms of work.
const ROUTES_PER_STEP = 200;

// Bounds the memory that a broken source of 100,000 routes can fill with messages.
const MAX_PROBLEMS = 100;

/** {@link snapshotProblems} in steps, so that the caller can yield to the event loop in between. */
export function* judgingSnapshot(snapshot: unknown): Generator<void, readonly SnapshotProblem[]> {
  const judge = new Judge();
  if (!isRecord(snapshot)) return [problem('error', [], 'a snapshot', snapshot)];
  const { version, routes, asOf, warnings } = snapshot;
  judge.check(isFilled(version), ['version'], 'a non-empty string', version);
  judge.check(asOf === undefined || isDate(asOf), ['asOf'], 'a valid Date', asOf);
  judge.check(warnings === undefined || isStrings(warnings), ['warnings'], 'a list of strings', warnings);
  if (!Array.isArray(routes)) return [...judge.problems, problem('error', ['routes'], 'a list', routes)];
  for (let index = 0; index < routes.length; index += 1) {
    judge.route(routes[index], index);
    if (judge.isFull) break;
    if (index % ROUTES_PER_STEP === ROUTES_PER_STEP - 1) yield;
  }
  return judge.problems;
}

/** Returns all problems of a value that a listener source yielded, which should be a list of `ListenAddress`. */
export function listenerProblems(listed: unknown): readonly SnapshotProblem[] {
  if (!Array.isArray(listed)) return [problem('error', [], 'a list of listeners', listed)];
  const judge = new Judge();
  for (const [index, listener] of listed.entries()) judge.listener(listener, [index]);
  return judge.problems;
}

type SnapshotPath = readonly (string | number)[];

/** The problems found so far, and the route names seen. */
class Judge {
  readonly problems: SnapshotProblem[] = [];
  readonly #routeNames = new Set<string>();

  get isFull(): boolean {
    return this.problems.length >= MAX_PROBLEMS;
  }

  check(isRight: boolean, path: SnapshotPath, expected: string, found: unknown): void {
    if (!isRight) this.problems.push(problem('error', path, expected, found));
  }

  route(route: unknown, index: number): void {
    const path = ['routes', index];
    if (!isRecord(route)) {
      this.problems.push(problem('error', path, 'a route', route));
      return;
    }
    this.#routeName(route['name'], path);
    this.#serverNames(route, path);
    this.#backends(route['backends'], path);
    this.#settings(route, path);
  }

  listener(listener: unknown, path: SnapshotPath): void {
    if (!isRecord(listener)) {
      this.problems.push(problem('error', path, 'a listener', listener));
      return;
    }
    const { name, endpoint, advertised, access } = listener;
    this.check(isFilled(name), [...path, 'name'], 'a non-empty string', name);
    // The range of the port is checked when the listener opens: an invalid one does not affect the rest of the list.
    const isAddress = isRecord(endpoint) && isFilled(endpoint['host']) && typeof endpoint['port'] === 'number';
    this.check(isAddress, [...path, 'endpoint'], 'an address with host and port', endpoint);
    const isAdvertised = advertised === undefined || (Array.isArray(advertised) && advertised.every(isRecord));
    this.check(isAdvertised, [...path, 'advertised'], 'a list of addresses', advertised);
    if (access !== undefined) this.#access(access, [...path, 'access']);
  }

  #routeName(name: unknown, path: SnapshotPath): void {
    this.check(isFilled(name), [...path, 'name'], 'a non-empty string', name);
    if (typeof name !== 'string') return;
    if (this.#routeNames.has(name))
      this.#warn([...path, 'name'], `another route of the source is named ${quoted(name)}`);
    this.#routeNames.add(name);
  }

  #serverNames({ serverNames }: UnknownFields, path: SnapshotPath): void {
    const at = [...path, 'serverNames'];
    if (!Array.isArray(serverNames)) {
      this.problems.push(problem('error', at, 'a list', serverNames));
      return;
    }
    // An empty list is valid: a resolver may select the route otherwise, as the one for a sidecar's upstreams does.
    for (const [index, name] of serverNames.entries()) {
      if (typeof name !== 'string') this.problems.push(problem('error', [...at, index], 'a string', name));
      else this.#serverName(name, [...at, index]);
      if (this.isFull) return;
    }
  }

  #serverName(name: string, path: SnapshotPath): void {
    const fault = serverNameFault(name);
    if (fault !== undefined) this.#warn(path, `no client can send the server name ${quoted(name)}: ${fault}`);
  }

  #backends(backends: unknown, path: SnapshotPath): void {
    const at = [...path, 'backends'];
    if (!Array.isArray(backends)) {
      this.problems.push(problem('error', at, 'a list', backends));
      return;
    }
    for (const [index, backend] of backends.entries()) {
      this.#backend(backend, [...at, index]);
      if (this.isFull) return;
    }
  }

  #backend(backend: unknown, path: SnapshotPath): void {
    if (!isRecord(backend)) {
      this.problems.push(problem('error', path, 'a backend', backend));
      return;
    }
    const { address, weight, healthy, priority, labels } = backend;
    this.#address(address, [...path, 'address']);
    this.check(isWholeNumber(weight, 1), [...path, 'weight'], 'an integer of 1 or more', weight);
    this.check(typeof healthy === 'boolean', [...path, 'healthy'], 'true or false', healthy);
    const isPriority = priority === undefined || isWholeNumber(priority, 0);
    this.check(isPriority, [...path, 'priority'], 'an integer of 0 or more', priority);
    this.check(labels === undefined || isLabels(labels), [...path, 'labels'], 'strings by name', labels);
    const { proxyProtocol } = backend;
    this.check(isProxyProtocol(proxyProtocol), [...path, 'proxyProtocol'], PROXY_PROTOCOL_FORM, proxyProtocol);
  }

  #address(address: unknown, path: SnapshotPath): void {
    if (!isRecord(address)) {
      this.problems.push(problem('error', path, 'an address with host and port', address));
      return;
    }
    const { host, port } = address;
    this.check(isFilled(host), [...path, 'host'], 'a non-empty string', host);
    const isSocket = typeof host === 'string' && host.startsWith('unix:');
    if (isSocket) this.check(port === 0, [...path, 'port'], '0 beside a unix socket', port);
    else this.check(isWholeNumber(port, 1, 65_535), [...path, 'port'], 'an integer from 1 to 65535', port);
  }

  #settings(route: UnknownFields, path: SnapshotPath): void {
    const { listeners, fallback, balance, connectTimeoutMs, keepAlive, use, withoutBackend, healthCheck } = route;
    const isCode = [undefined, 'NO_BACKEND', 'NO_GATEWAY'].includes(withoutBackend as string | undefined);
    this.check(isCode, [...path, 'withoutBackend'], 'NO_BACKEND or NO_GATEWAY', withoutBackend);
    const isTime = connectTimeoutMs === undefined || isPositive(connectTimeoutMs);
    this.check(listeners === undefined || isStrings(listeners), [...path, 'listeners'], 'a list of names', listeners);
    this.check(isOptionalBoolean(fallback), [...path, 'fallback'], 'true or false', fallback);
    this.check(
      isBalance(balance),
      [...path, 'balance'],
      `one of ${BALANCES.join(', ')}, or { name, settings }`,
      balance,
    );
    for (const key of ['retryBeforeFirstByte', 'resetsEndWell'])
      this.check(isOptionalBoolean(route[key]), [...path, key], 'true or false', route[key]);
    for (const key of ['onBackendRemoved', 'onBackendDown'])
      this.check(isBackendDrain(route[key]), [...path, key], '{ graceMs, spreadMs }, 0 or more each', route[key]);
    this.check(isTime, [...path, 'connectTimeoutMs'], 'a number of milliseconds above 0', connectTimeoutMs);
    this.check(isKeepAlive(keepAlive), [...path, 'keepAlive'], 'keepalive times above 0', keepAlive);
    this.check(isFailover(route['failover']), [...path, 'failover'], FAILOVER_FORM, route['failover']);
    this.#egress(route, path);
    this.check(isHealthCheck(healthCheck), [...path, 'healthCheck'], HEALTH_CHECK_FORM, healthCheck);
    this.check(isUses(use), [...path, 'use'], 'a list of { name, settings }', use);
    if (route['access'] !== undefined) this.#access(route['access'], [...path, 'access']);
    const { proxyProtocol } = route;
    this.check(isProxyProtocol(proxyProtocol), [...path, 'proxyProtocol'], PROXY_PROTOCOL_FORM, proxyProtocol);
    if (route['limits'] !== undefined) this.#limits(route['limits'], [...path, 'limits']);
  }

  #access(access: unknown, path: SnapshotPath): void {
    if (!isRecord(access)) {
      this.problems.push(problem('error', path, 'access rules', access));
      return;
    }
    const { allow, deny, allowFile, denyFile } = access;
    this.check(isAddresses(allow), [...path, 'allow'], 'a list of addresses and blocks', allow);
    this.check(isAddresses(deny), [...path, 'deny'], 'a list of addresses and blocks', deny);
    this.check(isOptionalPath(allowFile), [...path, 'allowFile'], 'an absolute path', allowFile);
    this.check(isOptionalPath(denyFile), [...path, 'denyFile'], 'an absolute path', denyFile);
  }

  #limits(limits: unknown, path: SnapshotPath): void {
    if (!isRecord(limits)) {
      this.problems.push(problem('error', path, 'limits', limits));
      return;
    }
    const { connections, rate, perBackend, maxAgeMs, idleTimeoutMs, halfCloseTimeoutMs } = limits;
    for (const [key, value] of Object.entries({ maxAgeMs, idleTimeoutMs, halfCloseTimeoutMs }))
      this.check(isOptionalTime(value), [...path, key], 'a number of milliseconds above 0, or Infinity', value);
    this.check(isOptionalCount(connections), [...path, 'connections'], 'an integer of 1 or more', connections);
    this.check(isOptionalCount(perBackend), [...path, 'perBackend'], 'an integer of 1 or more', perBackend);
    this.check(isRate(rate), [...path, 'rate'], 'a count and a time, both above 0', rate);
  }

  /** Strict, because a mistake here makes an open proxy. */
  #egress({ egress, serverNames, fallback }: UnknownFields, path: SnapshotPath): void {
    if (egress === undefined) return;
    this.check(isEgress(egress), [...path, 'egress'], EGRESS_FORM, egress);
    const isClosed = fallback !== true && Array.isArray(serverNames) && !serverNames.includes('*');
    this.check(isClosed, [...path, 'serverNames'], 'exact names or suffixes beside egress', serverNames);
  }

  #warn(path: SnapshotPath, message: string): void {
    this.problems.push({ severity: 'warning', path, message });
  }
}

type UnknownFields = Readonly<Record<string, unknown>>;

function isRecord(value: unknown): value is UnknownFields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isFilled(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function isUses(value: unknown): boolean {
  if (value === undefined) return true;
  return Array.isArray(value) && value.every(isUse);
}

function isUse(value: unknown): boolean {
  return isRecord(value) && isFilled(value['name']) && isRecord(value['settings']);
}

function isLabels(value: unknown): boolean {
  return isRecord(value) && isStrings(Object.values(value));
}

function isStrings(value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function isAddresses(value: unknown): boolean {
  if (value === undefined) return true;
  return Array.isArray(value) && value.every((one) => typeof one === 'string' && isAddressOrBlock(one));
}

function isOptionalPath(value: unknown): boolean {
  return value === undefined || (typeof value === 'string' && isAbsolute(value));
}

function isOptionalCount(value: unknown): boolean {
  return value === undefined || isWholeNumber(value, 1);
}

function isOptionalTime(value: unknown): boolean {
  return value === undefined || (typeof value === 'number' && value > 0);
}

function isRate(value: unknown): boolean {
  return value === undefined || (isRecord(value) && isPositive(value['count']) && isPositive(value['perMs']));
}

function isDate(value: unknown): boolean {
  return value instanceof Date && !Number.isNaN(value.getTime());
}

function isWholeNumber(value: unknown, min: number, max: number = Number.MAX_SAFE_INTEGER): boolean {
  return Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max;
}

function isPositive(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value > 0;
}

function isOptionalBoolean(value: unknown): boolean {
  return value === undefined || typeof value === 'boolean';
}

const BALANCES: readonly BuiltInBalance[] = ['round_robin', 'least_connections', 'random', 'client_hash', 'name_hash'];

function isBalance(value: unknown): boolean {
  return value === undefined || isUse(value) || BALANCES.some((balance) => balance === value);
}

function isKeepAlive(value: unknown): boolean {
  if (value === undefined) return true;
  if (!isRecord(value)) return false;
  const { idleMs, intervalMs, probes, userTimeoutMs } = value;
  const optional = [intervalMs, probes, userTimeoutMs === 0 ? undefined : userTimeoutMs];
  return isPositive(idleMs) && optional.every((one) => one === undefined || isPositive(one));
}

const FAILOVER_FORM = '{ minHealthy, returnAfterMs }: 1 or more, and 0 or more milliseconds';

function isFailover(value: unknown): boolean {
  if (value === undefined) return true;
  if (!isRecord(value)) return false;
  const { minHealthy, returnAfterMs } = value;
  return (
    isWholeNumber(minHealthy, 1) && (returnAfterMs === undefined || returnAfterMs === 0 || isPositive(returnAfterMs))
  );
}

const PROXY_PROTOCOL_FORM = 'v1, v2 or off';

function isProxyProtocol(value: unknown): boolean {
  return value === undefined || value === 'v1' || value === 'v2' || value === 'off';
}

function isBackendDrain(value: unknown): boolean {
  if (value === undefined) return true;
  return isRecord(value) && [value['graceMs'], value['spreadMs']].every((ms) => ms === 0 || isPositive(ms));
}

const EGRESS_FORM = '{ port, allowAddresses }: a port from 1 to 65535, and networks';

function isEgress(value: unknown): boolean {
  if (!isRecord(value) || !isWholeNumber(value['port'], 1, 65_535)) return false;
  const { allowAddresses } = value;
  return allowAddresses === undefined || (Array.isArray(allowAddresses) && allowAddresses.every(isBlock));
}

function isBlock(value: unknown): boolean {
  return typeof value === 'string' && isAddressOrBlock(value);
}

const HEALTH_CHECK_FORM = 'a health check: kind tcp or tls, times above 0, rise and fall of 1 or more';

function isHealthCheck(value: unknown): boolean {
  if (value === undefined) return true;
  if (!isRecord(value)) return false;
  const { kind, intervalMs, timeoutMs, rise, fall, serverName, slowStartMs, whenAllDown } = value;
  return (
    (kind === 'tcp' || kind === 'tls') &&
    isPositive(intervalMs) &&
    isPositive(timeoutMs) &&
    isWholeNumber(rise, 1) &&
    isWholeNumber(fall, 1) &&
    (serverName === undefined || isFilled(serverName)) &&
    (slowStartMs === undefined || isPositive(slowStartMs)) &&
    (whenAllDown === undefined || whenAllDown === 'try' || whenAllDown === 'refuse')
  );
}

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
  const wrong = host.split('.').find((label) => !LABEL.test(label));
  return wrong === undefined ? undefined : `${quoted(wrong)} is no label of a host name`;
}

function problem(
  severity: SnapshotProblem['severity'],
  path: SnapshotPath,
  expected: string,
  found: unknown,
): SnapshotProblem {
  return { severity, path, message: `expected ${expected}, found ${described(found)}` };
}

function described(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'string') return value === '' ? 'an empty string' : quoted(value);
  if (typeof value === 'object' && value !== null) return value instanceof Date ? 'an invalid Date' : 'an object';
  return typeof value === 'function' ? 'a function' : String(value);
}

// Keeps a name of a megabyte out of the log.
const MAX_QUOTED_CHARS = 100;

function quoted(text: string): string {
  return JSON.stringify(text.length > MAX_QUOTED_CHARS ? `${text.slice(0, MAX_QUOTED_CHARS)}…` : text);
}
