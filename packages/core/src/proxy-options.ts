// The options of a proxy and their validation. Embedders may be plain JavaScript, and a wrong or misspelt option would
// otherwise show at the first connection, or never.
import { DEFAULT_DRAIN } from './lifecycle/drain.ts';
import type { DrainOptions } from './lifecycle/drain.ts';
import { foundPart, shapeProblem } from './lifecycle/part-shape.ts';
import type { LayerFactory, Problem } from './lifecycle/plugin.ts';
import type { Service } from './lifecycle/service.ts';
import type { Observer } from './observe.ts';
import type { ConnectionFilter } from './pipeline/filter.ts';
import { DEFAULT_LIMITS } from './pipeline/limits.ts';
import type { Limits } from './pipeline/limits.ts';
import type { BalanceFactory } from './pipeline/picker.ts';
import type { Connector, Layer, Resolver, Sniffer } from './pipeline/stages.ts';
import type { KeepAlive, ListenAddress, Route, RouteSource } from './routes/route.ts';
import { snapshotProblems } from './routes/snapshot-problems.ts';
import type { Endpoint } from './transport/endpoint.ts';
import type { Transport } from './transport/transport.ts';

/** Settings of a proxy. Required are `listen`, `sniffers`, and one of `routes`, `sources` and `resolvers`. */
export interface ProxyOptions {
  /** Addresses to listen on; port 0 selects a free port. A single address becomes the listener `main`. */
  readonly listen: Endpoint | readonly ListenAddress[];
  /** Fixed routes; they take precedence over those of `sources`. */
  readonly routes?: readonly Route[];
  /** Route sources, in order of precedence. */
  readonly sources?: readonly RouteSource[];
  /** Sniffers of the clients' protocol, called in order: `sniSniffer()` of `@meshgate/sni` for TLS. */
  readonly sniffers: readonly Sniffer[];
  /** Resolvers called before the route table, in order; `undefined` means "not mine". */
  readonly resolvers?: readonly Resolver[];
  /** Connection filters that run before the sniffers, on every listener, in order. */
  readonly filters?: readonly ConnectionFilter[];
  /** Layer factories, by the name that a route gives in `use`. */
  readonly routeLayers?: Readonly<Record<string, LayerFactory>>;
  /** Balance factories, by the name that a route gives in `balance`. */
  readonly balances?: Readonly<Record<string, BalanceFactory>>;
  /** Labels of preferred backends, the most important label first: `{ zone: 'a' }`. */
  readonly prefer?: Readonly<Record<string, string>>;
  /** Layers around the connector of all routes; the first is outermost. */
  readonly layers?: readonly Layer<Connector>[];
  /** Observers of every event, in order. An observer that throws affects neither the others nor the proxy. */
  readonly observers?: readonly Observer[];
  /** Services, started before the listeners and stopped after them. */
  readonly services?: readonly Service[];
  /** Overrides of {@link DEFAULT_LIMITS}. */
  readonly limits?: Partial<Limits>;
  /** Overrides of {@link DEFAULT_DRAIN}. */
  readonly drain?: Partial<DrainOptions>;
  /** TCP keepalive on both sides; first probe after 60 s of silence when absent. */
  readonly keepAlive?: KeepAlive;
  /** `nodeTransport()` when absent. */
  readonly transport?: Transport;
}

/** Name of the source behind `routes`, in metrics and in `explain`. */
export const ROUTES_SOURCE = 'routes';

/** Returns all problems of a proxy's options; assumes nothing about their type. */
export function optionProblems(options: unknown): readonly Problem[] {
  if (!isRecord(options)) return [{ path: [], message: `expected options, found ${foundPart(options, undefined)}` }];
  const problems = [
    ...unknownKeys(options, [], OPTIONS),
    ...listenProblems(options['listen']),
    ...Object.entries(LISTS).flatMap(([key, methods]) => listProblems(key, options[key], methods)),
    ...amountProblems('limits', options['limits'], LIMITS),
    ...amountProblems('drain', options['drain'], new Set(Object.keys(DEFAULT_DRAIN))),
    ...makerProblems('routeLayers', options['routeLayers']),
    ...makerProblems('balances', options['balances']),
    ...transportProblems(options['transport']),
    ...routeProblems(options['routes']),
  ];
  return problems.length > 0 ? problems : compositionProblems(options as unknown as ProxyOptions);
}

/** Returns the problems of options that are valid one by one: missing ones and duplicates. */
function compositionProblems({
  listen,
  routes,
  sources = [],
  resolvers = [],
  sniffers,
}: ProxyOptions): readonly Problem[] {
  const names = 'host' in listen ? ['main'] : listen.map(({ name }) => name);
  const sourceNames = sources.map(({ name }) => name);
  const problem = (isWrong: boolean, key: keyof ProxyOptions, message: string): readonly Problem[] =>
    isWrong ? [{ path: [key], message }] : [];
  return [
    ...problem(names.length === 0, 'listen', 'expected at least one address, found none'),
    ...problem(new Set(names).size < names.length, 'listen', 'expected listeners with different names'),
    ...problem(sniffers.length === 0, 'sniffers', 'expected at least one sniffer, found none'),
    ...problem(
      routes === undefined && sources.length + resolvers.length === 0,
      'sources',
      'expected routes, a source or a resolver, found none',
    ),
    ...problem(
      new Set([ROUTES_SOURCE, ...sourceNames]).size <= sourceNames.length,
      'sources',
      `expected sources with different names, none of them ${JSON.stringify(ROUTES_SOURCE)}`,
    ),
  ];
}

/** Options that are lists of parts, with the required methods. Layers are functions. */
const LISTS: Readonly<Record<string, readonly string[]>> = {
  sniffers: ['inspect'],
  sources: ['watch'],
  resolvers: ['resolve'],
  filters: ['filter'],
  layers: [],
  observers: ['observe'],
  services: ['start', 'stop'],
};

const OPTIONS: ReadonlySet<string> = new Set([
  ...Object.keys(LISTS),
  'listen',
  'routes',
  'routeLayers',
  'balances',
  'prefer',
  'limits',
  'drain',
  'keepAlive',
  'transport',
]);

const LIMITS: ReadonlySet<string> = new Set([...Object.keys(DEFAULT_LIMITS), 'maxAgeMs', 'perClient']);

function unknownKeys(
  value: Readonly<Record<string, unknown>>,
  path: Problem['path'],
  known: ReadonlySet<string>,
): readonly Problem[] {
  const unknown = Object.keys(value).filter((key) => !known.has(key));
  return unknown.map((key) => ({ path: [...path, key], message: `expected one of ${[...known].join(', ')}` }));
}

function listenProblems(listen: unknown): readonly Problem[] {
  if (!Array.isArray(listen)) return endpointProblems(['listen'], listen);
  return listen.flatMap((one: unknown, index) => {
    if (!isRecord(one))
      return [{ path: ['listen', index], message: `expected name and endpoint, found ${found(one)}` }];
    const { name, endpoint } = one;
    const isNamed = typeof name === 'string' && name !== '';
    return [
      ...(isNamed ? [] : [{ path: ['listen', index, 'name'], message: `expected a name, found ${found(name)}` }]),
      ...endpointProblems(['listen', index, 'endpoint'], endpoint),
    ];
  });
}

function endpointProblems(path: Problem['path'], value: unknown): readonly Problem[] {
  if (!isRecord(value)) return [{ path, message: `expected host and port, found ${found(value)}` }];
  const { host, port } = value;
  const isPort = Number.isInteger(port) && Number(port) >= 0 && Number(port) <= MAX_PORT;
  return [
    ...(typeof host === 'string' && host !== ''
      ? []
      : [{ path: [...path, 'host'], message: `expected a host, found ${found(host)}` }]),
    ...(isPort ? [] : [{ path: [...path, 'port'], message: `expected 0 to ${MAX_PORT}, found ${found(port)}` }]),
  ];
}

function listProblems(key: string, list: unknown, methods: readonly string[]): readonly Problem[] {
  if (list === undefined && key !== 'sniffers') return [];
  if (!Array.isArray(list)) return [{ path: [key], message: `expected a list, found ${found(list)}` }];
  return list.flatMap((part: unknown, index) => {
    const message = methods.length === 0 ? functionProblem(part) : shapeProblem(part, ...methods);
    return message === undefined ? [] : [{ path: [key, index], message }];
  });
}

/** Checks numbers of 0 or more: `NaN` would make every comparison false, and thus disable a limit. */
function amountProblems(key: string, amounts: unknown, known: ReadonlySet<string>): readonly Problem[] {
  if (amounts === undefined) return [];
  if (!isRecord(amounts)) return [{ path: [key], message: `expected an object, found ${found(amounts)}` }];
  const wrong = Object.entries(amounts).filter(
    ([name, amount]) => known.has(name) && name !== 'perClient' && amount !== undefined && !isAmount(amount),
  );
  return [
    ...unknownKeys(amounts, [key], known),
    ...wrong.map(([name, amount]) => ({
      path: [key, name],
      message: `expected a number of 0 or more, found ${found(amount)}`,
    })),
  ];
}

function isAmount(value: unknown): boolean {
  return typeof value === 'number' && value >= 0;
}

function makerProblems(key: string, makers: unknown): readonly Problem[] {
  if (makers === undefined) return [];
  if (!isRecord(makers)) return [{ path: [key], message: `expected an object, found ${found(makers)}` }];
  return Object.entries(makers).flatMap(([name, make]) => {
    const message = functionProblem(make);
    return message === undefined ? [] : [{ path: [key, name], message }];
  });
}

function transportProblems(transport: unknown): readonly Problem[] {
  const message = transport === undefined ? undefined : shapeProblem(transport, 'listen', 'dial', 'splice');
  return message === undefined ? [] : [{ path: ['transport'], message }];
}

/**
 * Validates fixed routes at once: a source can yield again, but these would stay refused, silently without an observer.
 */
function routeProblems(routes: unknown): readonly Problem[] {
  if (routes === undefined) return [];
  return snapshotProblems({ version: 'options', routes }).filter(({ severity }) => severity === 'error');
}

function functionProblem(part: unknown): string | undefined {
  return typeof part === 'function' ? undefined : `expected a function, found ${foundPart(part, 'call')}`;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function found(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  return isRecord(value) ? 'an object' : typeof value === 'number' ? String(value) : foundPart(value, undefined);
}

const MAX_PORT = 65_535;
