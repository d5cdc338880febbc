// The options of a proxy and their validation. Embedders may be plain JavaScript, and a wrong or misspelt option would
// otherwise show at the first connection, or never.
import { DEFAULT_DRAIN } from './lifecycle/drain.ts';
import type { DrainOptions } from './lifecycle/drain.ts';
import { checkFields, integer, isFilled, isRecord, optional, shape, wrong } from './field-checks.ts';
import type { ValueCheck, FieldCheck } from './field-checks.ts';
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
import {
  KEEP_ALIVE,
  LABELS,
  LISTEN_ENDPOINT,
  listenerProblems,
  RATE,
  snapshotProblems,
} from './routes/snapshot-problems.ts';
import { portProblem } from './transport/endpoint.ts';
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
  if (!isRecord(options)) return [wrong([], 'options', options)];
  const problems = [
    ...unknownKeys(options, [], Object.keys(OPTIONS)),
    ...Object.entries(OPTIONS).flatMap(([key, problemsOf]) => problemsOf(options[key], [key])),
  ];
  return problems.length > 0 ? problems : compositionProblems(options as unknown as ProxyOptions);
}

/** Returns the addresses to listen on, with their names. */
export function listening(listen: ProxyOptions['listen']): readonly ListenAddress[] {
  return 'host' in listen ? [{ name: 'main', endpoint: listen }] : listen;
}

/** Returns the problems of options that are valid one by one: missing ones and duplicates. */
function compositionProblems({
  listen,
  routes,
  sources = [],
  resolvers = [],
  sniffers,
}: ProxyOptions): readonly Problem[] {
  const names = listening(listen).map(({ name }) => name);
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

/** Returns the problems of an option, by its value and path. */
type OptionCheck = (value: unknown, path: Problem['path']) => readonly Problem[];

/** `NaN` would make every comparison false, and thus disable a limit. */
const AMOUNT = optional((value) => typeof value === 'number' && value >= 0);

const PER_CLIENT: FieldCheck = [
  'perClient',
  'limits per client',
  optional(isRecord),
  [
    ['connections', 'a number of 0 or more', AMOUNT],
    ['rate', 'a count and a time, both above 0', optional(RATE)],
    ['prefix', 'lengths v4 and v6', optional(shape({ v4: integer(1, 32), v6: integer(1, 128) }))],
  ],
];

/** Layers are functions. A `Record`, so that the compiler requires every option. */
const OPTIONS: Readonly<Record<keyof ProxyOptions, OptionCheck>> = {
  sniffers: named(parts('inspect')),
  sources: unlessAbsent(named(parts('watch'))),
  resolvers: unlessAbsent(parts('resolve')),
  filters: unlessAbsent(named(parts('filter'))),
  layers: unlessAbsent(parts()),
  observers: unlessAbsent(parts('observe')),
  services: unlessAbsent(named(parts('start', 'stop'))),
  listen: listenProblems,
  // A source can yield again, but these would stay refused, silently without an observer.
  routes: unlessAbsent((routes) =>
    snapshotProblems({ version: 'options', routes }).filter(({ severity }) => severity === 'error'),
  ),
  routeLayers: unlessAbsent(makers),
  balances: unlessAbsent(makers),
  prefer: unlessAbsent(valid('strings by name', LABELS)),
  limits: unlessAbsent(amounts([...Object.keys(DEFAULT_LIMITS), 'maxAgeMs'], PER_CLIENT)),
  drain: unlessAbsent(amounts(Object.keys(DEFAULT_DRAIN))),
  keepAlive: unlessAbsent(valid('keepalive times above 0', KEEP_ALIVE)),
  transport: unlessAbsent(part('listen', 'dial', 'splice')),
};

function unlessAbsent(problemsOf: OptionCheck): OptionCheck {
  return (value, path) => (value === undefined ? [] : problemsOf(value, path));
}

function valid(expected: string, isRight: ValueCheck): OptionCheck {
  return (value, path) => (isRight(value) ? [] : [wrong(path, expected, value)]);
}

/** A part with these methods; a function without any. */
function part(...methods: readonly string[]): OptionCheck {
  return (value, path) => {
    const message = methods.length > 0 ? shapeProblem(value, ...methods) : functionProblem(value);
    return message === undefined ? [] : [{ path, message }];
  };
}

function parts(...methods: readonly string[]): OptionCheck {
  const problemsOf = part(...methods);
  return (value, path) =>
    Array.isArray(value)
      ? value.flatMap((one: unknown, index) => problemsOf(one, [...path, index]))
      : [wrong(path, 'a list', value)];
}

/** Adds that each part has a name, by which errors, events and metrics call it. */
function named(problemsOf: OptionCheck): OptionCheck {
  return (value, path) => {
    const problems = problemsOf(value, path);
    if (problems.length > 0 || !Array.isArray(value)) return problems;
    const names = value.map((one: { readonly name?: unknown }) => one.name);
    return names.flatMap((name, index) => (isFilled(name) ? [] : [wrong([...path, index, 'name'], 'a name', name)]));
  };
}

function makers(value: unknown, path: Problem['path']): readonly Problem[] {
  if (!isRecord(value)) return [wrong(path, 'an object', value)];
  return Object.entries(value).flatMap(([name, make]) => part()(make, [...path, name]));
}

function amounts(keys: readonly string[], ...others: readonly FieldCheck[]): OptionCheck {
  const fields = [...keys.map((key): FieldCheck => [key, 'a number of 0 or more', AMOUNT]), ...others];
  return (value, path) => {
    const problems: Problem[] = [];
    if (!checkFields(value, path, ['an object', fields], (problem) => problems.push(problem))) return problems;
    const known = fields.map(([key]) => key);
    const within = others.flatMap(([key, , , inner = []]) => {
      const other = value[key];
      const innerKeys = inner.map(([innerKey]) => innerKey);
      return isRecord(other) ? unknownKeys(other, [...path, key], innerKeys) : [];
    });
    return [...problems, ...unknownKeys(value, path, known), ...within];
  };
}

function listenProblems(listen: unknown, path: Problem['path']): readonly Problem[] {
  if (Array.isArray(listen)) {
    const problems = listenerProblems(listen, path);
    return problems.length > 0
      ? problems
      : listen.flatMap((at: ListenAddress, index) => portProblems(at.endpoint, [...path, index, 'endpoint']));
  }
  const [, expected, isRight] = LISTEN_ENDPOINT;
  return isRight(listen) ? portProblems(listen as Endpoint, path) : [wrong(path, expected, listen)];
}

function portProblems(endpoint: Endpoint, path: Problem['path']): readonly Problem[] {
  const message = portProblem(endpoint);
  return message === undefined ? [] : [{ path: [...path, 'port'], message }];
}

function unknownKeys(
  value: Readonly<Record<string, unknown>>,
  path: Problem['path'],
  known: readonly string[],
): readonly Problem[] {
  const unknown = Object.keys(value).filter((key) => !known.includes(key));
  return unknown.map((key) => ({ path: [...path, key], message: `expected one of ${known.join(', ')}` }));
}

function functionProblem(value: unknown): string | undefined {
  return typeof value === 'function' ? undefined : `expected a function, found ${foundPart(value, 'call')}`;
}
