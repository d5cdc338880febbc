import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { parseEndpoint } from '@meshgate/core';
import type { Problem } from '@meshgate/core';
import { parseAgentAddress } from '@meshgate/consul-source';

/** Flags for Consul and the admin server, by the keys of the command line parser. */
export interface ConsulFlags {
  readonly httpAddr?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly caFile?: string;
  readonly caPath?: string;
  readonly clientCert?: string;
  readonly clientKey?: string;
  readonly tlsServerName?: string;
  readonly namespace?: string;
  readonly partition?: string;
  readonly register?: boolean;
  readonly service?: string;
  readonly proxyId?: string;
  readonly nodeName?: string;
  readonly address?: string;
  readonly wanAddress?: string;
  /** Values in the form `NAME=IP:PORT`. */
  readonly bindAddress?: readonly string[];
  readonly exposeServers?: boolean;
  readonly deregisterAfterCritical?: string;
  /** Value in the form `IP:PORT`. */
  readonly adminBind?: string;
}

/** Environment variables. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A setting from the command line or the environment. */
export interface Override {
  /** Keys of the settings of `use: consul`, or `admin`. */
  readonly path: readonly string[];
  readonly value: unknown;
  /** Flag or variable of the setting, for messages: `--http-addr`, `CONSUL_HTTP_ADDR`. */
  readonly by: string;
}

/** Settings from the command line and the environment. They override the configuration file. */
export interface CommandSettings {
  readonly overrides: readonly Override[];
  /** Problems, whose paths are the flag or the variable. */
  readonly problems: readonly Problem[];
  /** Whether a flag concerns Consul: then Consul is a source even without a configuration file. */
  readonly byFlag: boolean;
  /**
   * Whether the environment names an agent. Variables apply to every program, so this one counts only when no source is
   * configured.
   */
  readonly byEnvironment: boolean;
  /** `CONSUL_HTTP_SSL`: uses TLS to the agent, wherever its address comes from. */
  readonly secure: boolean;
}

/**
 * Reads the flags and variables of Consul's own command line, with the same meaning. A flag overrides a variable. Pure.
 *
 * @param cwd base of relative file names
 */
export function commandSettings(flags: ConsulFlags, env: Environment, cwd: string): CommandSettings {
  const problems: Problem[] = [];
  const overrides = [...agentSettings(flags, env, cwd, problems), ...registerSettings(flags, problems)];
  const admin = flags.adminBind === undefined ? undefined : adminOf(flags.adminBind, problems);
  const { adminBind: _admin, ...aboutConsul } = flags;
  return {
    overrides: admin === undefined ? overrides : [...overrides, { path: ['admin'], value: admin, by: '--admin-bind' }],
    problems,
    byFlag: Object.keys(aboutConsul).length > 0,
    byEnvironment: isSet(env['CONSUL_HTTP_ADDR']),
    secure: securityOf(env, problems),
  };
}

/** A flag of `meshgate gateway`, for the command line parser. */
export interface FlagDefinition {
  readonly flag: string;
  readonly description: string;
  readonly repeatable?: true;
}

/** Definitions of the flags in {@link ConsulFlags}. */
export const CONSUL_FLAGS: readonly FlagDefinition[] = [
  { flag: '--http-addr <address>', description: 'Consul agent (CONSUL_HTTP_ADDR; default: http://127.0.0.1:8500)' },
  { flag: '--token <token>', description: 'ACL token; other users can see it, prefer a file (CONSUL_HTTP_TOKEN)' },
  { flag: '--token-file <file>', description: 'file with the ACL token, reloaded on change (CONSUL_HTTP_TOKEN_FILE)' },
  { flag: '--ca-file <file>', description: 'CA certificate for the agent (CONSUL_CACERT)' },
  { flag: '--ca-path <folder>', description: 'directory of CA certificates for the agent (CONSUL_CAPATH)' },
  { flag: '--client-cert <file>', description: 'client certificate for the agent (CONSUL_CLIENT_CERT)' },
  { flag: '--client-key <file>', description: 'key of the client certificate (CONSUL_CLIENT_KEY)' },
  {
    flag: '--tls-server-name <name>',
    description: "server name expected in the agent's certificate (CONSUL_TLS_SERVER_NAME)",
  },
  { flag: '--namespace <name>', description: 'namespace, Consul Enterprise (CONSUL_NAMESPACE)' },
  { flag: '--partition <name>', description: 'admin partition, Consul Enterprise (CONSUL_PARTITION)' },
  { flag: '--register', description: 'register the gateway in Consul, and deregister it on exit' },
  { flag: '--service <name>', description: 'service name to register (default: mesh-gateway)' },
  { flag: '--proxy-id <id>', description: 'service id to register, or id of a gateway that is already registered' },
  { flag: '--node-name <node>', description: 'node of the catalog that has the gateway, if the agent does not' },
  {
    flag: '--address <ip:port>',
    description: "LAN address to register; without a port: 443 (default: the agent's address)",
  },
  { flag: '--wan-address <host:port>', description: 'WAN address to register, at which other datacenters reach it' },
  {
    flag: '--bind-address <name=ip:port>',
    description: 'listen on this address instead of the registered ones, as a listener of this name (repeatable)',
    repeatable: true,
  },
  { flag: '--expose-servers', description: 'expose Consul servers, for WAN federation through gateways' },
  {
    flag: '--deregister-after-critical <duration>',
    description: 'deregister a critical gateway after this time: 90m, 6h (default: 6h)',
  },
  { flag: '--admin-bind <ip:port>', description: 'address of the admin API, or unix:/path (default: 127.0.0.1:19000)' },
];

// Registration flags, which a sidecar does not have.
const REGISTERING =
  /^--(?:register|service|proxy-id|node-name|address|wan-address|bind-address|expose-servers|deregister-)/;

/** Flags of `meshgate sidecar`. */
export const SIDECAR_FLAGS: readonly FlagDefinition[] = [
  { flag: '--sidecar-for <id>', description: 'id of the service instance to proxy' },
  { flag: '--proxy-id <id>', description: 'id of the proxy, where an instance has several' },
  ...CONSUL_FLAGS.filter(({ flag }) => !REGISTERING.test(flag)),
];

/**
 * Rewrites flags in the form of Consul's own command line, `-http-addr=…` and `-register=true`. All other arguments are
 * unchanged. Pure.
 */
export function withTwoDashes(args: readonly string[]): readonly string[] {
  return args.flatMap((arg) => {
    const [, name = '', value] = /^--?([a-z-]+)(?:=(.*))?$/s.exec(arg) ?? [];
    const known = [...CONSUL_FLAGS, ...SIDECAR_FLAGS].find(({ flag }) => flag.split(' ')[0] === `--${name}`);
    if (known === undefined) return [arg];
    const isSwitch = !known.flag.includes(' ');
    if (!isSwitch || value === undefined) return [value === undefined ? `--${name}` : `--${name}=${value}`];
    if (TRUE.has(value)) return [`--${name}`];
    return FALSE.has(value) ? [] : [`--${name}=${value}`];
  });
}

// The values of Go's strconv.ParseBool, with which Consul parses flags and variables.
const TRUE = new Set(['1', 't', 'T', 'true', 'TRUE', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'false', 'FALSE', 'False']);

/** A setting of the agent, with its flag, its variable and its key in a configuration file. */
type AgentSetting = readonly [flag: keyof ConsulFlags, written: string, variable: string, key: string];

const STRINGS: readonly AgentSetting[] = [
  ['httpAddr', '--http-addr', 'CONSUL_HTTP_ADDR', 'address'],
  ['tlsServerName', '--tls-server-name', 'CONSUL_TLS_SERVER_NAME', 'tlsServerName'],
  ['namespace', '--namespace', 'CONSUL_NAMESPACE', 'namespace'],
  ['partition', '--partition', 'CONSUL_PARTITION', 'partition'],
];
const FILES: readonly AgentSetting[] = [
  ['caFile', '--ca-file', 'CONSUL_CACERT', 'caFile'],
  ['caPath', '--ca-path', 'CONSUL_CAPATH', 'caPath'],
  ['clientCert', '--client-cert', 'CONSUL_CLIENT_CERT', 'certFile'],
  ['clientKey', '--client-key', 'CONSUL_CLIENT_KEY', 'keyFile'],
];
const TOKEN: AgentSetting = ['token', '--token', 'CONSUL_HTTP_TOKEN', 'token'];
const TOKEN_FILE: AgentSetting = ['tokenFile', '--token-file', 'CONSUL_HTTP_TOKEN_FILE', 'tokenFile'];

function agentSettings(flags: ConsulFlags, env: Environment, cwd: string, problems: Problem[]): readonly Override[] {
  const inFolder = (overrides: Override): Override => ({ ...overrides, value: resolve(cwd, String(overrides.value)) });
  const strings = STRINGS.flatMap((setting) => found(setting, flags, env)).filter(isFine);
  function isFine({ path, value, by }: Override): boolean {
    const wrong = path[0] === 'address' ? addressProblems(value, by) : [];
    problems.push(...wrong);
    return wrong.length === 0;
  }
  const auth = env['CONSUL_HTTP_AUTH'];
  return [
    ...strings,
    ...(isSet(auth) ? [{ path: ['httpAuth'], value: auth, by: 'CONSUL_HTTP_AUTH' }] : []),
    ...FILES.flatMap((setting) => found(setting, flags, env)).map(inFolder),
    ...token(flags, env, cwd),
  ];
}

/** Selects the token in Consul's order: flags before variables, and in each the file before the token itself. */
function token(flags: ConsulFlags, env: Environment, cwd: string): readonly Override[] {
  const ofFlags = [...found(TOKEN_FILE, flags, {}), ...found(TOKEN, flags, {})];
  const ofEnvironment = [...found(TOKEN_FILE, {}, env), ...found(TOKEN, {}, env)];
  const [first] = [...ofFlags, ...ofEnvironment];
  if (first === undefined) return [];
  const other = first.path[0] === 'token' ? 'tokenFile' : 'token';
  const value = other === 'token' ? resolve(cwd, String(first.value)) : first.value;
  // Removes the other setting, whose value in a configuration file would conflict.
  return [
    { ...first, value },
    { path: [other], value: undefined, by: first.by },
  ];
}

function found(
  [flag, written, variable, key]: AgentSetting,
  flags: ConsulFlags,
  env: Environment,
): readonly Override[] {
  const path = [key];
  if (isSet(flags[flag])) return [{ path, value: flags[flag], by: written }];
  return isSet(env[variable]) ? [{ path, value: env[variable], by: variable }] : [];
}

/** Whether a value is set; an empty one is not, as in Consul. */
function isSet(value: unknown): boolean {
  return value !== undefined && value !== '';
}

function addressProblems(value: unknown, by: string): readonly Problem[] {
  const address = String(value);
  const parsed = parseAgentAddress(address);
  if (parsed.kind === 'address' && !/^https?:\/\/.*:\/\//i.test(address) && address !== 'unix://') return [];
  const hint = parsed.kind === 'invalid' ? parsed.hint : '';
  return [withHint(problem(by, 'http://127.0.0.1:8500, https://HOST:PORT or unix:///PATH', address), hint)];
}

function withHint({ path, message }: Problem, hint: string): Problem {
  return { path, message: `${message}${hint}` };
}

function securityOf(env: Environment, problems: Problem[]): boolean {
  const secure = truth('CONSUL_HTTP_SSL', env, problems) ?? false;
  if (truth('CONSUL_HTTP_SSL_VERIFY', env, problems) === false)
    problems.push(problem('CONSUL_HTTP_SSL_VERIFY', UNVERIFIED, env['CONSUL_HTTP_SSL_VERIFY']));
  return secure;
}

const UNVERIFIED = "true: the agent's certificate is always verified, and CONSUL_CACERT may name its authority";

function truth(variable: string, env: Environment, problems: Problem[]): boolean | undefined {
  const value = env[variable] ?? '';
  if (value === '') return undefined;
  if (TRUE.has(value)) return true;
  if (!FALSE.has(value)) problems.push(problem(variable, 'true or false', value));
  return false;
}

function registerSettings(flags: ConsulFlags, problems: Problem[]): readonly Override[] {
  const { register, service, proxyId, nodeName, address, wanAddress, exposeServers, deregisterAfterCritical } = flags;
  const settings: readonly (readonly [key: string, by: string, value: unknown])[] = [
    ['service', '--service', service],
    ['address', '--address', address],
    ['wanAddress', '--wan-address', wanAddress],
    ['bindAddresses', '--bind-address', bindAddresses(flags.bindAddress ?? [], problems)],
    ['exposeServers', '--expose-servers', exposeServers],
    ['deregisterAfterCritical', '--deregister-after-critical', deregisterAfterCritical],
  ];
  return [
    ...(register === true ? [{ path: ['register'], value: {}, by: '--register' }] : []),
    ...settings.flatMap(([key, by, value]) => (isSet(value) ? [{ path: ['register', key], value, by }] : [])),
    ...(isSet(proxyId) ? [{ path: ['proxyId'], value: proxyId, by: '--proxy-id' }] : []),
    ...(isSet(nodeName) ? [{ path: ['node'], value: nodeName, by: '--node-name' }] : []),
  ];
}

function bindAddresses(written: readonly string[], problems: Problem[]): Readonly<Record<string, string>> | undefined {
  const addresses = new Map<string, string>();
  for (const text of written) {
    const [, name, address] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    if (name === undefined || address === undefined)
      problems.push(problem('--bind-address', 'NAME=IP:PORT such as wan=203.0.113.5:443', text));
    else if (addresses.has(name)) problems.push(problem('--bind-address', `another name than ${name} again`, text));
    else addresses.set(name, address);
  }
  return addresses.size === 0 ? undefined : Object.fromEntries(addresses);
}

function adminOf(written: string, problems: Problem[]): object | undefined {
  const endpoint = parseEndpoint(written.replace(/^localhost:/, '127.0.0.1:'));
  if (endpoint?.host.startsWith('unix:/') === true) return { address: endpoint.host };
  if (endpoint !== undefined && isIP(endpoint.host) !== 0) return { address: endpoint.host, port: endpoint.port };
  problems.push(problem('--admin-bind', 'IP:PORT such as 127.0.0.1:19000, or unix:/path', written));
  return undefined;
}

function problem(by: string, expected: string, value: unknown): Problem {
  return { path: [by], message: `expected ${expected}, found ${JSON.stringify(value)}` };
}
