// The schemas of the admin API's responses. The OpenAPI document is built from them, and a test compares every response
// with its schema: a response has no members that are not listed here.
import * as z from 'zod';
import { LOG_LEVELS } from '../config/config-schema.ts';

const count = z.int().min(0);
const milliseconds = z.number().min(0);
const date = z.iso.datetime();
const strings = z.array(z.string());

const choice = {
  balance: z.string().optional().describe('round_robin when absent'),
  layers: strings.optional().describe("plugins' layers around its connector, the outermost first"),
  failover: z
    .strictObject({ minHealthy: z.int(), returnAfterMs: z.number().optional() })
    .optional()
    .describe('when backups take over'),
  priorityInUse: z.int().optional().describe('priority of the backends in use; absent when all have the same'),
  heldBack: z
    .array(z.strictObject({ priority: z.int(), forMs: milliseconds }))
    .optional()
    .describe('lower priorities that are healthy again, and how long until they are used'),
  preferred: z.record(z.string(), z.string()).optional().describe('labels of the preferred backends'),
  egress: z
    .strictObject({ port: z.int(), allowAddresses: z.array(z.string()).optional() })
    .optional()
    .describe('forwards to the server name itself'),
};

const backendDrain = z.strictObject({ graceMs: milliseconds, spreadMs: milliseconds }).optional();

const accessRules = z.strictObject({
  allow: strings.optional(),
  deny: strings.optional(),
  allowFile: z.string().optional(),
  denyFile: z.string().optional(),
});

const rules = {
  access: accessRules.optional().describe('which clients may use it'),
  limits: z
    .strictObject({
      connections: count.optional(),
      perBackend: count.optional(),
      rate: z.string().optional(),
      maxAge: z.string().optional(),
      idleTimeout: z.string().optional(),
      halfCloseTimeout: z.string().optional(),
    })
    .optional()
    .describe('limits of its connections, as in a route file'),
  proxyProtocol: z.enum(['v1', 'v2']).optional().describe('how the client address is passed to backends'),
  healthCheck: z
    .strictObject({
      kind: z.enum(['tcp', 'tls']),
      intervalMs: milliseconds,
      timeoutMs: milliseconds,
      rise: count,
      fall: count,
      serverName: z.string().optional(),
      slowStartMs: milliseconds.optional(),
      whenAllDown: z.enum(['try', 'refuse']).optional(),
    })
    .optional()
    .describe('how its backends are checked; not at all when absent'),
  retryBeforeFirstByte: z
    .literal(true)
    .optional()
    .describe('retries on another backend when one closes before its first byte'),
  onBackendRemoved: backendDrain.describe('how connections of a removed backend are closed; absent: they continue'),
  onBackendDown: backendDrain.describe('how connections of a backend that is down are closed; absent: they continue'),
};

const checkState = z.enum(['unknown', 'up', 'down']);

const backend = {
  host: z.string().describe('an address, a DNS name, or unix:/path'),
  port: z.int().min(0).max(65_535),
  weight: z.number().min(0),
  healthy: z.boolean().describe('as its source and its health checks report'),
  check: z
    .strictObject({
      state: checkState,
      addresses: z.array(
        z.strictObject({
          host: z.string(),
          port: z.int(),
          state: checkState,
          since: z.string(),
          checkedAt: z.string().optional().describe('absent before the first check'),
          failure: z.string().optional().describe('why the last check failed'),
        }),
      ),
    })
    .optional()
    .describe('health checks; absent when there are none'),
  priority: z.int().optional().describe('lower is preferred; 0 when absent'),
  labels: z.record(z.string(), z.string()).optional(),
  proxyProtocol: z.enum(['v1', 'v2', 'off']).optional().describe('overrides that of the route'),
};

const source = z.strictObject({
  name: z.string(),
  state: z.enum(['waiting', 'current', 'restored', 'stale', 'failing']),
  routes: count,
  lastSuccess: date.optional().describe('when its routes were last confirmed'),
  error: z.string().optional(),
  warnings: strings,
});

const route = z.strictObject({
  name: z.string(),
  source: z.string(),
  kind: z.string().optional(),
  serverNames: strings,
  listeners: strings.optional().describe('all when absent'),
  fallback: z.literal(true).optional().describe('also takes clients without a server name'),
  connectTimeoutMs: milliseconds,
  ...choice,
  ...rules,
  backends: z.array(
    z.strictObject({ ...backend, ejected: z.literal(true).optional().describe('after consecutive dial failures') }),
  ),
});

const claim = {
  route: z.string(),
  source: z.string(),
  match: z.enum(['exact', 'suffix', 'any']),
  pattern: z.string(),
};

const onListeners = z.array(z.strictObject({ listener: z.string(), ...claim })).optional();

const explanation = z.union([
  z.strictObject({
    found: z.literal(true),
    serverName: z.string(),
    ...claim,
    kind: z.string().optional(),
    ...choice,
    ...rules,
    why: z.string(),
    origin: z.record(z.string(), z.string()).optional().describe('source-specific facts'),
    listeners: strings.optional(),
    listenerAccess: z
      .array(z.strictObject({ listener: z.string(), access: accessRules }))
      .optional()
      .describe('access rules of its listeners; absent when they admit every client'),
    unknownListeners: strings.optional(),
    backends: z.array(z.strictObject({ ...backend, ejected: z.boolean() })),
    withoutBackend: z.string().optional().describe('code of its connections; absent while it has a backend'),
    onListeners,
    shadowed: z.array(z.strictObject(claim)),
  }),
  z.strictObject({
    found: z.literal(false),
    serverName: z.string(),
    why: z.string(),
    unknownListeners: strings.optional(),
    nearest: strings,
    onListeners,
  }),
]);

const connection = z.strictObject({
  id: z.string(),
  state: z.enum(['filtering', 'sniffing', 'connecting', 'splicing']),
  listener: z.string(),
  remote: z.string().describe('address and port of the client'),
  serverName: z.string().optional(),
  trace: z.string().optional().describe('the same at every proxy on the path'),
  route: z.string().optional(),
  backend: z.string().optional().describe('dialled last'),
  backendName: z.string().optional().describe('of the backend, where it is a DNS name'),
  bytesUp: count,
  bytesDown: count,
  ageMs: milliseconds,
  idleMs: milliseconds.describe('since the last byte from either side'),
});

const listener = z.strictObject({
  name: z.string(),
  host: z.string(),
  port: z.int(),
  bound: z.boolean(),
  access: accessRules.optional().describe('which clients may connect; all when absent'),
});

const drain = z.strictObject({
  state: z.enum(['serving', 'announcing', 'finishing', 'closing', 'drained']),
  remaining: count,
  finished: count,
  cut: count,
  remainingMs: milliseconds,
});

const readiness = { ready: z.boolean(), reasons: strings, warnings: strings };

const logLevel = z.enum(LOG_LEVELS);

const status = z.strictObject({
  version: z.string(),
  node: z.string().describe('Node.js version'),
  host: z.string(),
  pid: z.int(),
  startedAt: date,
  role: z.enum(['gateway', 'sidecar']),
  proxyId: z.string().optional().describe('of a sidecar: the service id of its proxy'),
  transport: z.string(),
  workers: z.int().min(1),
  ...readiness,
  logLevel,
  listeners: z.array(listener),
  sources: z.array(source),
  drain,
  routes: count,
  ejected: count.describe('backend addresses avoided after consecutive dial failures'),
});

const pluginInUse = z.strictObject({
  use: z.string(),
  fingerprint: z.string().describe('hash of its settings, which may hold secrets'),
  fixed: z.boolean().describe('it has parts that only a restart can replace'),
});

const settingChange = z.strictObject({
  setting: z.string(),
  change: z.enum(['added', 'removed', 'changed']),
  effect: z.enum(['now', 'new connections', 'restart']).describe('when it takes effect'),
  from: z.string().optional(),
  to: z.string().optional(),
});

/** Names of the schemas of JSON responses, as in the OpenAPI document. */
export type SchemaName =
  | 'Error'
  | 'Live'
  | 'Status'
  | 'Readiness'
  | 'Routes'
  | 'Explanation'
  | 'Closed'
  | 'Connections'
  | 'Listeners'
  | 'Drain'
  | 'LogLevel'
  | 'Settings'
  | 'Reload'
  | 'ReloadRefusal'
  | 'Upgrade'
  | 'OpenApi';

/** The schemas of JSON responses, by name. */
export const RESPONSES: Readonly<Record<SchemaName, z.ZodType>> = {
  Error: z.strictObject({ error: z.string().describe('what was expected, what was found; human-readable') }),
  Live: z.strictObject({ live: z.literal(true) }),
  Status: status,
  Readiness: z.strictObject(readiness),
  Routes: z.strictObject({ version: z.string(), routes: z.array(route), sources: z.array(source) }),
  Explanation: explanation,
  Closed: z.strictObject({ closed: count.describe('connections closed') }),
  Connections: z.strictObject({ connections: z.array(connection) }),
  Listeners: z.strictObject({ listeners: z.array(listener) }),
  Drain: drain,
  LogLevel: z.strictObject({ level: logLevel }),
  Settings: z.strictObject({
    file: z.string().optional().describe('absolute path of the configuration; absent without a file'),
    proxyId: z.string().optional().describe('of a sidecar: the service id of its proxy'),
    sources: z.array(pluginInUse),
    plugins: z.array(pluginInUse),
    values: z.record(z.string(), z.unknown()).describe('all other settings, by name'),
  }),
  Reload: z.strictObject({ changes: z.array(settingChange) }),
  Upgrade: z.strictObject({ pid: z.int().describe('of the successor') }),
  ReloadRefusal: z.strictObject({ error: z.string(), problems: strings }),
  OpenApi: z.looseObject({ openapi: z.string() }),
};
