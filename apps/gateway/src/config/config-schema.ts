import { isIP } from 'node:net';
import { DEFAULT_DRAIN, DEFAULT_LIMITS, formatEndpoint } from '@meshgate/core';
import { ADDRESS_OR_BLOCK_FORM, isAddressOrBlock, overlap } from '@meshgate/core/parts';
import type {
  AccessRules,
  DrainOptions,
  Endpoint,
  KeepAlive,
  Limits,
  ListenAddress,
  PartUse,
  PerClientLimits,
  Rate,
} from '@meshgate/core';
import type { SpliceMode } from '@meshgate/epoll-transport';
import { DURATION_FORM, MAX_TIMER_MS, parseDuration, parseRate, RATE_FORM } from '@meshgate/documents';
import * as z from 'zod';
import { expecting, missingKey } from './config-messages.ts';

/** A validated configuration, with all defaults filled in, and durations in milliseconds. */
export interface GatewayConfig {
  /** May be empty when a plugin provides listeners. */
  readonly listeners: readonly ListenerSettings[];
  /** Plugins that add route sources, in order of precedence. */
  readonly sources: readonly PluginUse[];
  /** Plugins that add other parts. */
  readonly plugins: readonly PluginUse[];
  /** Addresses of the admin API; none when empty. */
  readonly admin: readonly AdminSettings[];
  readonly limits: LimitSettings;
  readonly drain: DrainOptions;
  /** TCP keepalive of connections from clients, and to backends whose route has no keepalive of its own. */
  readonly keepAlive: KeepAlive;
  /** Labels of the preferred backends, the most important first. */
  readonly prefer?: Readonly<Record<string, string>>;
  /**
   * Folder for the last good routes; absent when they are not stored. Relative to the folder of the file, until it is
   * resolved.
   */
  readonly stateDir?: string;
  readonly log: LogSettings;
  readonly transport: TransportSettings;
  /** Number of processes that carry connections; `auto` for one per available processor. */
  readonly workers: number | 'auto';
}

/** An address of the admin API. */
export interface AdminSettings {
  readonly endpoint: Endpoint;
  /**
   * File with the token that every changing request must present. When absent, loopback addresses and unix sockets need
   * no token, and other addresses allow no change. Relative to the folder of the configuration file, until it is
   * resolved.
   */
  readonly tokenFile?: string;
}

/** A listen address, with its filters and other parts. */
export interface ListenerSettings extends ListenAddress {
  /** Filters, in the order in which they run. */
  readonly filters?: readonly PartUse[];
  /** Resolvers and layers for connections of this listener only. */
  readonly use?: readonly PartUse[];
  /** Peers whose PROXY protocol headers are trusted. When set, every connection must have a header. */
  readonly proxyProtocol?: { readonly from: readonly string[] };
}

/** The transport and its options. */
interface TransportSettings {
  /** `auto`, or the name of a transport. */
  readonly use: string;
  /** Option of `epoll`. */
  readonly splice: SpliceMode;
}

/** The use of a plugin, with its settings. */
export interface PluginUse {
  /** Name of a built-in plugin, path that begins with `.` or `/`, or name of a package. */
  readonly use: string;
  /** Other keys of the entry, which the plugin parses. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** {@link Limits}, some of which may be `auto`. */
export interface LimitSettings extends Omit<Limits, 'connections' | 'pendingHellos'> {
  readonly connections: number | 'auto';
  readonly pendingHellos: number | 'auto';
}

/** Log settings. */
export interface LogSettings {
  readonly level: LogLevel;
  /** Log lines of closed connections; false for none. */
  readonly access: AccessLogSettings | false;
  /**
   * Clients, such as port checks of load balancers, whose connections without a backend are logged at level `debug`.
   */
  readonly quiet: readonly string[];
  /** `auto`: `pretty` on a terminal, else `json`. */
  readonly format: 'auto' | 'json' | 'pretty';
}

/** Additional lines of the access log. */
export interface AccessLogSettings {
  /** One line for each connection that has reached its backend. */
  readonly connected: boolean;
  /** One line for each rejected client. When false, at most one per minute, client and reason. */
  readonly repeated: boolean;
}

const SPLICE_MODES = ['auto', 'copy', 'splice'] as const satisfies readonly SpliceMode[];

/** From the most to the least verbose; `silent` logs nothing. */
export const LOG_LEVELS: readonly ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] = [
  'trace',
  'debug',
  'info',
  'warn',
  'error',
  'fatal',
  'silent',
];

/** One of {@link LOG_LEVELS}. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Default address of the admin API. */
export const DEFAULT_ADMIN: Endpoint = { host: '127.0.0.1', port: 19_000 };

/**
 * Well below the 350 s after which cloud load balancers drop idle connections. A dead peer is detected within idle +
 * interval * probes: two minutes.
 */
const DEFAULT_KEEP_ALIVE = { idleMs: 60_000, intervalMs: 15_000, probes: 4 };

const MAX_PORT = 65_535;
/** A name is a metric label, and may be as long as the longest host name. */
const MAX_NAME_CHARS = 253;
/** `PATH_MAX` of Linux. */
const MAX_PATH_CHARS = 4096;
/** Above the descriptor limit of any process. */
const MAX_CONNECTIONS = 10_000_000;
/** Above the processor count of any machine. */
const MAX_WORKERS = 1024;
/** No TLS library sends a shorter ClientHello. */
const MIN_HELLO_BYTES = 64;
/** The length of a handshake message has 24 bits (RFC 8446, section 4): no ClientHello is longer. */
const MAX_HELLO_BYTES = 16 * 1024 * 1024;
/** Kernels accept keepalive times in whole seconds. */
const MIN_KEEP_ALIVE_MS = 1_000;
/** `MAX_TCP_KEEPCNT` of Linux. */
const MAX_PROBES = 127;

const IP_FORM = 'an IP address such as 127.0.0.1 or ::1';
const COUNT_FORM = `auto or an integer from 1 to ${MAX_CONNECTIONS}`;

const name = string(MAX_NAME_CHARS);
const use = string(MAX_PATH_CHARS).describe('a built-in plugin, a path that starts with ./ or /, or a package');
const port = integer(0, MAX_PORT).describe('0: any free port');
const count = z.union([z.literal('auto'), integer(1, MAX_CONNECTIONS)], expecting(COUNT_FORM)).default('auto');

const addressOrBlock = name.refine(isAddressOrBlock, expecting(ADDRESS_OR_BLOCK_FORM));

const clientAccess = mapping({
  allow: list(addressOrBlock).optional().describe('addresses and blocks that may connect; all when absent'),
  deny: list(addressOrBlock)
    .optional()
    .describe('addresses and blocks that may not connect; takes precedence over allow'),
  allowFile: string(MAX_PATH_CHARS)
    .optional()
    .describe('file with one entry a line, relative to this one; reloaded on change'),
  denyFile: string(MAX_PATH_CHARS).optional().describe('the same for deny'),
})
  .superRefine(({ allow, allowFile }, context) => {
    if (allow?.length === 0 && allowFile === undefined)
      refuse(context, ['allow'], 'expected at least one address or block, or allowFile: nobody could connect');
  })
  .transform(({ allow, deny, allowFile, denyFile }): AccessRules => ({
    ...(allow !== undefined && { allow }),
    ...(deny !== undefined && { deny }),
    ...(allowFile !== undefined && { allowFile }),
    ...(denyFile !== undefined && { denyFile }),
  }));

const localAddress = name
  .refine((value) => isIP(value) !== 0 || /^unix:\/./.test(value), expecting(`${IP_FORM}, or unix:/path`))
  .describe('local IP address, or unix:/path');
const PART_FORM = expecting('a name, or a mapping with the key "name"');

const partUse = z
  .looseObject({ name }, expecting('a mapping with the key "name"'))
  .transform(({ name: named, ...settings }): PartUse => ({ name: named, settings }));

const listener = mapping({
  name: name.optional().describe('metric label and log field; default: address and port'),
  address: localAddress,
  port: port.optional(),
  filters: list(z.union([name.transform((named): PartUse => ({ name: named, settings: {} })), partUse], PART_FORM))
    .optional()
    .describe('filters before the ClientHello, in this order: postgres, or those of plugins, with their settings'),
  use: list(partUse)
    .optional()
    .describe('resolvers and layers of plugins for its connections only, with their settings'),
  proxyProtocol: mapping({
    from: list(addressOrBlock)
      .min(1, expecting('at least one address or block'))
      .describe('load balancers: addresses, blocks, unix'),
  })
    .optional()
    .describe('connections start with a PROXY protocol header, version 1 or 2'),
  access: clientAccess.optional().describe('which clients may connect, by their address'),
})
  .superRefine((value, context) => {
    const isUnix = value.address.startsWith('unix:');
    if (!isUnix && value.port === undefined) refuse(context, ['port'], missingKey('port'));
    if (isUnix && value.port !== undefined) refuse(context, ['port'], 'a unix socket has no port');
  })
  .transform(toListenAddress);

const listeners = list(listener).superRefine((all, context) => {
  for (const [index, one] of all.entries()) {
    if (all.findIndex((other) => other.name === one.name) === index) continue;
    refuse(context, [index, 'name'], `listener name ${JSON.stringify(one.name)} is already used above`);
  }
  for (const [index, one] of all.entries()) {
    const rival = all.slice(0, index).find((other) => other.name !== one.name && clash(one.endpoint, other.endpoint));
    if (rival !== undefined) refuse(context, [index, 'address'], clashOf(one.endpoint, rival));
  }
});

/** Whether two entries conflict. An invalid entry conflicts with nothing. */
function clash(one: Partial<Endpoint> | undefined, other: Partial<Endpoint> | undefined): boolean {
  return isEndpoint(one) && isEndpoint(other) && overlap(one, other);
}

function isEndpoint(value: Partial<Endpoint> | undefined): value is Endpoint {
  return value?.host !== undefined && value.port !== undefined;
}

/** @param rival the earlier entry in the file */
function clashOf(endpoint: Endpoint, { name: rival, endpoint: earlier }: ListenAddress): string {
  const [own, other] = [formatEndpoint(endpoint), formatEndpoint(earlier)];
  const what = own === other ? own : `${other}, which conflicts with ${own}`;
  const why =
    own !== other && [earlier.host, endpoint.host].includes('::') ? ' (:: takes IPv4 connections as well)' : '';
  return `listener ${rival} listens on ${what}${why}`;
}

const pluginEntry = z
  .looseObject({ use }, expecting('a mapping with the key "use"'))
  .transform(({ use: named, ...settings }): PluginUse => ({ use: named, settings }));

const plugin = z.union(
  [use.transform((named): PluginUse => ({ use: named, settings: {} })), pluginEntry],
  expecting('a string, or a mapping with the key "use"'),
);

const adminAddress = mapping({
  address: localAddress.default(DEFAULT_ADMIN.host),
  port: port.optional().describe(`default: ${DEFAULT_ADMIN.port}; 0: any free port`),
  tokenFile: string(MAX_PATH_CHARS).optional().describe('file with the token that changes require'),
})
  .superRefine(({ address, port: given }, context) => {
    if (address.startsWith('unix:') && given !== undefined) refuse(context, ['port'], 'a unix socket has no port');
  })
  .transform(({ address, port: given, tokenFile }): AdminSettings => ({
    endpoint: { host: address, port: given ?? (address.startsWith('unix:') ? 0 : DEFAULT_ADMIN.port) },
    ...(tokenFile !== undefined && { tokenFile }),
  }));

const admin = z
  .union(
    [
      z.literal(false).transform((): readonly AdminSettings[] => []),
      adminAddress.transform((one): readonly AdminSettings[] => [one]),
      list(adminAddress),
    ],
    expecting('a mapping, a list of mappings, or false for no admin server'),
  )
  .superRefine((all, context) => {
    for (const [index, { endpoint }] of all.entries())
      if (all.slice(0, index).some((other) => clash(other.endpoint, endpoint)))
        refuse(context, [index, 'address'], `${formatEndpoint(endpoint)} is already used above`);
  });

const rate: z.ZodType<Rate, string> = z
  .string(expecting(RATE_FORM))
  .regex(/^[1-9]\d{0,8}\/[smh]$/, expecting(RATE_FORM))
  .transform((value, context) => parseRate(value) ?? (refuse(context, [], `expected ${RATE_FORM}`), z.NEVER));

const perClient = mapping({
  connections: count.describe('concurrent connections; auto: half of all, at least 256'),
  rate: rate.optional().describe('new connections: 50/s, 100/m; unlimited when absent'),
  prefix: mapping({
    v4: integer(1, 32).default(32).describe('prefix length by which IPv4 clients are counted'),
    v6: integer(1, 128).default(64).describe('the same for IPv6'),
  }).prefault({}),
}).transform(({ connections, rate: newConnections, prefix }): PerClientLimits => ({
  prefix,
  ...(newConnections !== undefined && { rate: newConnections }),
  ...(connections !== 'auto' && { connections }),
}));

const limits = mapping({
  helloTimeout: duration(1, DEFAULT_LIMITS.helloTimeoutMs).describe('from accept to a complete ClientHello'),
  helloMaxBytes: size(MIN_HELLO_BYTES, MAX_HELLO_BYTES, DEFAULT_LIMITS.helloMaxBytes).describe('largest ClientHello'),
  connectTimeout: duration(1, DEFAULT_LIMITS.connectTimeoutMs).describe('all dials of a connection together'),
  dials: integer(1, 1_000)
    .default(DEFAULT_LIMITS.dials)
    .describe('dials per connection, of all backends and addresses'),
  idleTimeout: durationOrOff()
    .prefault(`${DEFAULT_LIMITS.idleTimeoutMs}ms`)
    .describe('longest time without a byte from either side'),
  halfCloseTimeout: durationOrOff()
    .prefault(`${DEFAULT_LIMITS.halfCloseTimeoutMs}ms`)
    .describe('longest time without a byte once one side has finished'),
  maxAge: durationOrOff()
    .optional()
    .describe('maximum age of a connection, minus up to a tenth; unlimited when absent'),
  connections: count.describe('concurrent connections'),
  pendingHellos: count.describe(
    'of these, maximum number without a complete ClientHello; the oldest is closed for a new one',
  ),
  perClient: perClient.optional().describe('limits of one client address'),
}).transform(
  ({
    helloTimeout,
    connectTimeout,
    idleTimeout,
    halfCloseTimeout,
    maxAge,
    perClient: ofClient,
    ...sizes
  }): LimitSettings => ({
    helloTimeoutMs: helloTimeout,
    connectTimeoutMs: connectTimeout,
    idleTimeoutMs: idleTimeout,
    halfCloseTimeoutMs: halfCloseTimeout,
    ...(maxAge !== undefined && { maxAgeMs: maxAge }),
    ...sizes,
    ...(ofClient !== undefined && { perClient: ofClient }),
  }),
);

const drain = mapping({
  delay: duration(0, DEFAULT_DRAIN.delayMs).describe('not ready, still accepting'),
  grace: duration(0, DEFAULT_DRAIN.graceMs).describe('not accepting, connections continue'),
  spread: duration(0, DEFAULT_DRAIN.spreadMs).describe('period over which the remaining connections are closed'),
}).transform(({ delay, grace, spread }): DrainOptions => ({ delayMs: delay, graceMs: grace, spreadMs: spread }));

const keepAlive = mapping({
  idle: duration(MIN_KEEP_ALIVE_MS, DEFAULT_KEEP_ALIVE.idleMs).describe('idle time before the first probe'),
  interval: duration(MIN_KEEP_ALIVE_MS, DEFAULT_KEEP_ALIVE.intervalMs).describe('time between probes'),
  probes: integer(1, MAX_PROBES)
    .default(DEFAULT_KEEP_ALIVE.probes)
    .describe('unanswered probes before the peer counts as dead'),
  userTimeout: durationOrOff()
    .optional()
    .describe('how long sent bytes may stay unacknowledged; when absent, as long as all probes take'),
}).transform(({ idle, interval, probes, userTimeout }): KeepAlive => ({
  idleMs: idle,
  intervalMs: interval,
  probes,
  ...(userTimeout !== undefined && { userTimeoutMs: Number.isFinite(userTimeout) ? userTimeout : 0 }),
}));

const access = z.union(
  [
    z.boolean().transform((on): AccessLogSettings | false => on && { connected: false, repeated: false }),
    mapping({
      connected: z.boolean(expecting('true or false')).default(false).describe('also a line at connect'),
      repeated: z
        .boolean(expecting('true or false'))
        .default(false)
        .describe('a line for each refused client, not one a minute'),
    }),
  ],
  expecting('true, false or a mapping'),
);

const log = mapping({
  level: z.enum(LOG_LEVELS, expecting(`one of ${LOG_LEVELS.join(', ')}`)).default('info'),
  access: access.prefault(true).describe('one line for each closed connection'),
  quiet: list(addressOrBlock)
    .default([])
    .describe('health checkers, whose failures are logged at debug: addresses, blocks, unix'),
  format: z.enum(['auto', 'json', 'pretty'], expecting('one of auto, json, pretty')).default('auto'),
});

const transport = z
  .union(
    [
      name.transform((named): TransportSettings => ({ use: named, splice: 'auto' })),
      mapping({
        use: name.default('auto').describe('auto, or the name of a transport'),
        splice: z
          .enum(SPLICE_MODES, expecting(`one of ${SPLICE_MODES.join(', ')}`))
          .default('auto')
          .describe('for uring and epoll: how bulk data is copied between sockets'),
      }),
    ],
    expecting('a string, or a mapping'),
  )
  .superRefine(({ use: named, splice }, context) => {
    if (splice === 'auto' || named === 'epoll' || named === 'uring') return;
    refuse(context, ['splice'], `expected use: epoll or uring beside splice: ${splice}, found ${named}`);
  });

const workers = z
  .union([z.literal('auto'), integer(1, MAX_WORKERS)], expecting(`auto or an integer from 1 to ${MAX_WORKERS}`))
  .default(1)
  .describe('worker processes');

/**
 * Settings that are checked together with the parts of plugins. Each is parsed separately, so that its problems are
 * reported even when other settings are invalid.
 */
export const SETTINGS_BESIDE_PLUGINS: {
  readonly [Key in 'listeners' | 'sources' | 'admin' | 'transport' | 'workers']: z.ZodType<GatewayConfig[Key]>;
} = {
  listeners: listeners.default([]),
  sources: list(pluginEntry).default([]).describe('route sources; order is precedence'),
  admin: admin.prefault({}),
  transport: transport.prefault('auto'),
  workers,
};

/**
 * The schema of a configuration file, which produces a {@link GatewayConfig}. The published JSON Schema is generated
 * from it.
 */
export const configSchema: z.ZodType<GatewayConfig> = mapping({
  $schema: z.string(expecting('a string')).optional().describe('for editors'),
  listeners: SETTINGS_BESIDE_PLUGINS.listeners,
  sources: SETTINGS_BESIDE_PLUGINS.sources,
  plugins: list(plugin).default([]).describe('plugins that add anything else'),
  admin: SETTINGS_BESIDE_PLUGINS.admin,
  limits: limits.prefault({}),
  drain: drain.prefault({}),
  keepAlive: keepAlive.prefault({}),
  prefer: z
    .record(name, name, expecting('labels of backends, such as { zone: a }'))
    .optional()
    .describe('labels of the preferred backends, the most important first'),
  stateDir: string(MAX_PATH_CHARS).optional().describe('directory for the last good routes, relative to this file'),
  log: log.prefault({}),
  transport: SETTINGS_BESIDE_PLUGINS.transport,
  workers: SETTINGS_BESIDE_PLUGINS.workers,
})
  .superRefine(({ listeners: all, admin: addresses }, context) => {
    for (const { endpoint } of addresses) {
      const index = all.findIndex((one) => clash(one.endpoint, endpoint));
      if (index !== -1)
        refuse(context, ['listeners', index, 'address'], `the admin server listens on ${formatEndpoint(endpoint)}`);
    }
  })
  .transform(({ $schema: _forEditors, stateDir, prefer, ...settings }): GatewayConfig => ({
    ...settings,
    ...(prefer !== undefined && { prefer }),
    ...(stateDir !== undefined && { stateDir }),
  }));

function mapping<Shape extends z.core.$ZodLooseShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, expecting('a mapping'));
}

function list<Item extends z.ZodType>(item: Item): z.ZodArray<Item> {
  return z.array(item, expecting('a list'));
}

function string(maxChars: number): z.ZodString {
  return z
    .string(expecting('a string'))
    .min(1, expecting('a string'))
    .max(maxChars, expecting(`at most ${maxChars} characters`));
}

function integer(min: number, max: number): z.ZodInt {
  const wrong = expecting(`an integer from ${min} to ${max}`);
  return z.int(wrong).min(min, wrong).max(max, wrong);
}

/** @param minMs 0 when the action may be immediate */
function duration(minMs: number, defaultMs: number): z.ZodPrefault<z.ZodType<number, string>> {
  return durationFrom(minMs, `${DURATION_FORM}, from ${minMs}ms to ${MAX_TIMER_MS}ms`).prefault(`${defaultMs}ms`);
}

function durationFrom(minMs: number, form: string): z.ZodType<number, string> {
  const wrong = expecting(form);
  const inRange = (ms: number): boolean => ms >= minMs && ms <= MAX_TIMER_MS;
  return z
    .string(wrong)
    .regex(/^\d{1,9}(?:ms|s|m|h)$/, { ...wrong, abort: true })
    .refine((value) => inRange(parseDuration(value) ?? -1), wrong)
    .transform((value) => parseDuration(value) ?? 0);
}

/** A time that may be unlimited: `off` becomes `Infinity`. */
function durationOrOff(): z.ZodType<number, string> {
  const form = `${DURATION_FORM}, from 1ms to ${MAX_TIMER_MS}ms, or off`;
  return z.union([z.literal('off').transform(() => Infinity), durationFrom(1, form)], expecting(form));
}

/** A number of bytes with its unit: `64KiB`. */
function size(minBytes: number, maxBytes: number, defaultBytes: number): z.ZodPrefault<z.ZodType<number, string>> {
  const wrong = expecting(`a size such as 4096B, 64KiB or 1MiB, from ${minBytes}B to ${maxBytes}B`);
  return z
    .string(wrong)
    .regex(/^\d{1,9}(?:B|KiB|MiB)$/, { ...wrong, abort: true })
    .refine((value) => toBytes(value) >= minBytes && toBytes(value) <= maxBytes, wrong)
    .transform(toBytes)
    .prefault(`${defaultBytes}B`);
}

function toBytes(value: string): number {
  const factor = value.endsWith('MiB') ? 1024 ** 2 : value.endsWith('KiB') ? 1024 : 1;
  return Number.parseInt(value, 10) * factor;
}

interface WrittenListener {
  readonly name?: string | undefined;
  readonly address: string;
  readonly port?: number | undefined;
  readonly filters?: readonly PartUse[] | undefined;
  readonly use?: readonly PartUse[] | undefined;
  readonly proxyProtocol?: { readonly from: readonly string[] } | undefined;
  readonly access?: AccessRules | undefined;
}

function toListenAddress(written: WrittenListener): ListenerSettings {
  const { name: given, address, port: number = 0, filters, use: used, proxyProtocol, access: rules } = written;
  const endpoint = { host: address, port: number };
  return {
    name: given ?? formatEndpoint(endpoint),
    endpoint,
    ...(filters !== undefined && { filters }),
    ...(used !== undefined && { use: used }),
    ...(proxyProtocol !== undefined && { proxyProtocol }),
    ...(rules !== undefined && { access: rules }),
  };
}

function refuse(context: z.core.$RefinementCtx, path: (string | number)[], message: string): void {
  context.addIssue({ code: 'custom', path, message });
}
