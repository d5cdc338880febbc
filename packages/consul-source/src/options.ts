import { resolve } from 'node:path';
import { ConfigProblems } from '@meshgate/core';
import type { Problem } from '@meshgate/core';
import { defined, errorOf } from '@meshgate/core/parts';
import { addressListProblems, openValue, readRouteSettings, ROUTE_SETTING_KEYS } from '@meshgate/documents';
import type { Field, RouteSettings, RouteSettingsContext } from '@meshgate/documents';
import { MESH_ROUTE_KINDS } from '@meshgate/mesh';
import type { ConsulOptions } from './gateway.ts';
import type { RegisterOptions } from './registration.ts';
import { checkBundles } from './peering/peer-trust.ts';
import type { RouteDefaults } from './route-defaults.ts';
import type { CredentialOptions } from './sidecar/credentials.ts';
import { tlsProblems } from './tls-files.ts';
import type { TlsFiles } from './tls-files.ts';
import { isToken, readToken, TOKEN_FORM } from './token.ts';

/**
 * The settings of `use: consul`, as written in the configuration. Files and folders are relative to the configuration
 * file. `token` and `tokenFile`, and `register` and `node`, exclude each other; `certFile` and `keyFile` need each other.
 */
export interface ConsulSettings
  extends
    Omit<ConsulOptions, 'tls' | 'ca' | 'cert' | 'key' | 'onCertificate' | 'onRoots'>,
    TlsFiles,
    Pick<CredentialOptions, 'trustBundles'> {}

/** Parses the settings. @throws ConfigProblems with every problem */
export function parseSettings(config: unknown): ConsulSettings {
  const { root, problems } = openValue(config ?? {});
  const fields = root.record(SETTINGS);
  const strings = stringsOf(fields, STRINGS);
  if (strings['token'] !== undefined && !isToken(strings['token'])) fields?.get('token')?.refuse(TOKEN_FORM);
  if (strings['token'] !== undefined && strings['tokenFile'] !== undefined)
    fields?.get('tokenFile')?.refuse('expected token or tokenFile, found both');
  for (const [one, other] of [['certFile', 'keyFile'] as const, ['keyFile', 'certFile'] as const])
    if (strings[one] !== undefined && strings[other] === undefined)
      fields?.get(one)?.refuse(`expected ${other} beside ${one}, found none`);
  const register = readRegister(fields?.get('register'));
  if (register !== undefined && strings['node'] !== undefined)
    fields?.get('node')?.refuse('expected register or node, found both');
  const others = defined({
    register,
    httpExports: fields?.get('httpExports')?.oneOf(['refuse', 'passthrough'] as const),
    exportFailover: fields?.get('exportFailover')?.boolean(),
    trustBundles: stringsByName(fields?.get('trustBundles')),
    routes: readRouteDefaults(fields?.get('routes')),
  });
  if (problems.length > 0) throw new ConfigProblems(problems);
  return { ...strings, ...others };
}

function readRouteDefaults(field: Field | undefined): RouteDefaults | undefined {
  const fields = field?.record(ROUTES);
  if (fields === undefined) return undefined;
  const kinds = fields.get('ofKind')?.record(KINDS);
  const settingsIn = (of: ReadonlyMap<string, Field> = new Map()): RouteSettings => readRouteSettings(of, AS_WRITTEN);
  const ofKind = Array.from(kinds ?? [], ([kind, one]) => [kind, settingsIn(one.record(ROUTE_SETTING_KEYS))] as const);
  return { ...settingsIn(fields), ...(kinds !== undefined && { ofKind: Object.fromEntries(ofKind) }) };
}

/** {@link optionsOf} later makes file names absolute. */
const AS_WRITTEN: RouteSettingsContext = {
  toPath: (name) => name,
  parseName: (name) => ({ kind: 'value', value: name.toLowerCase() }),
};

/**
 * Converts settings to options of the parts, with absolute file names.
 *
 * @param baseDir folder against which relative file names are resolved
 */
export function optionsOf(settings: ConsulSettings, baseDir: string): ConsulOptions & CredentialOptions {
  const { caFile, caPath, certFile, keyFile, tokenFile, trustBundles, routes, ...options } = settings;
  const tls = absolute({ caFile, caPath, certFile, keyFile }, baseDir);
  return {
    ...options,
    ...absolute({ tokenFile }, baseDir),
    ...defined({
      trustBundles: trustBundles && absoluteFiles(trustBundles, baseDir),
      routes: routes && withAbsoluteLists(routes, baseDir),
      tls: Object.keys(tls).length === 0 ? undefined : tls,
    }),
  };
}

function withAbsoluteLists({ ofKind, ...ofAll }: RouteDefaults, baseDir: string): RouteDefaults {
  const of = (settings: RouteSettings): RouteSettings => {
    const { allowFile, denyFile, ...entries } = settings.access ?? {};
    if (allowFile === undefined && denyFile === undefined) return settings;
    return { ...settings, access: { ...entries, ...absolute({ allowFile, denyFile }, baseDir) } };
  };
  if (ofKind === undefined) return of(ofAll);
  const kinds = Object.entries(ofKind).map(([kind, settings]) => [kind, of(settings)] as const);
  return { ...of(ofAll), ofKind: Object.fromEntries(kinds) };
}

/**
 * Returns the problems of files that cannot be used at the moment, by the setting that names each. A running source
 * waits for such a file and reports the reason in its state; a check before the start fails.
 */
export async function fileProblems({
  tls = {},
  tokenFile,
  trustBundles,
  routes,
}: Pick<ReturnType<typeof optionsOf>, 'tls' | 'tokenFile' | 'trustBundles' | 'routes'>): Promise<readonly Problem[]> {
  const problems: Problem[] = tlsProblems(tls).map(({ key, message }) => ({ path: [key], message }));
  const attempt = async (key: string, read: () => unknown): Promise<void> => {
    try {
      await read();
    } catch (reason) {
      problems.push({ path: [key], message: errorOf(reason).message });
    }
  };
  if (tokenFile !== undefined) await attempt('tokenFile', () => readToken(tokenFile));
  if (trustBundles !== undefined) await attempt('trustBundles', () => checkBundles(trustBundles));
  for (const path of listsOf(routes)) problems.push(...(await addressListProblems(path)));
  return problems;
}

/** Returns the address list files in the settings of routes, without duplicates. */
function listsOf({ ofKind = {}, ...ofAll }: RouteDefaults = {}): readonly string[] {
  const all = [ofAll, ...Object.values(ofKind)];
  const named = all.flatMap(({ access = {} }) => [access.allowFile, access.denyFile]);
  return [...new Set(named.filter((path) => path !== undefined))];
}

const STRINGS = [
  'address',
  'token',
  'tokenFile',
  'caFile',
  'caPath',
  'certFile',
  'keyFile',
  'tlsServerName',
  'namespace',
  'partition',
  'datacenter',
  'dnsDomain',
  'proxyId',
  'node',
  'httpAuth',
] as const satisfies readonly (keyof ConsulSettings)[];

const REGISTER_STRINGS = ['service', 'id', 'address', 'wanAddress', 'readyUrl', 'deregisterAfterCritical'] as const;

const SETTINGS = optional([...STRINGS, 'httpExports', 'exportFailover', 'trustBundles', 'register', 'routes'] as const);
/** Keys of `routes`. */
const ROUTES: Readonly<Record<keyof RouteDefaults, 'optional'>> = { ...ROUTE_SETTING_KEYS, ofKind: 'optional' };
const KINDS = optional(MESH_ROUTE_KINDS);
const REGISTER = optional([...REGISTER_STRINGS, 'bindAddresses', 'exposeServers'] as const);

function optional<Key extends string>(keys: readonly Key[]): Readonly<Record<Key, 'optional'>> {
  return Object.fromEntries(keys.map((key) => [key, 'optional'])) as Record<Key, 'optional'>;
}

type Strings<Key extends string> = { readonly [Name in Key]?: string };

function stringsOf<Key extends string>(
  fields: ReadonlyMap<string, Field> | undefined,
  keys: readonly Key[],
): Strings<Key> {
  return defined(Object.fromEntries(keys.map((key) => [key, fields?.get(key)?.string()]))) as Strings<Key>;
}

function readRegister(field: Field | undefined): RegisterOptions | undefined {
  if (field === undefined) return undefined;
  if (field.shape === 'nothing') return {};
  const fields = field.record(REGISTER);
  return {
    ...stringsOf(fields, REGISTER_STRINGS),
    ...defined({
      bindAddresses: stringsByName(fields?.get('bindAddresses')),
      exposeServers: fields?.get('exposeServers')?.boolean(),
    }),
  };
}

function stringsByName(field: Field | undefined): Readonly<Record<string, string>> | undefined {
  const entries = field?.entries()?.map(({ key, value }): [string, string] => [key, value.string() ?? '']);
  return entries && Object.fromEntries(entries);
}

function absolute<Key extends string>(
  files: { readonly [Name in Key]: string | undefined },
  baseDir: string,
): Strings<Key> {
  return absoluteFiles(defined(files) as Readonly<Record<string, string>>, baseDir) as Strings<Key>;
}

function absoluteFiles(files: Readonly<Record<string, string>>, baseDir: string): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(files).map(([key, name]) => [key, resolve(baseDir, name)]));
}
