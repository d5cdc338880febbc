import { readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ConfigProblems } from '@meshgate/core';
import type { Problem } from '@meshgate/core';
import leven from 'leven';
import type { ConsulOptions } from './gateway.ts';
import { object } from './json.ts';
import type { JsonObject } from './json.ts';
import type { RegisterOptions } from './registration.ts';

/** The settings of `use: consul`, as written. */
export interface ConsulSettings {
  /** The agent, as `AgentOptions.address` wants it; `http://127.0.0.1:8500` when absent. */
  readonly address?: string;
  /** ACL token. The agent takes its own default token when neither this nor `tokenFile` is set. */
  readonly token?: string;
  /** Relative to the configuration file, as all files are. Read again while running. */
  readonly tokenFile?: string;
  /** Authorities (PEM) to which the agent's certificate must lead, beside those of `caPath`; the system's when neither is set. */
  readonly caFile?: string;
  /** A folder of certificate authorities. */
  readonly caPath?: string;
  /** Client certificate (PEM) for an agent that demands one; with `keyFile`. */
  readonly certFile?: string;
  /** Private key (PEM) of `certFile`. */
  readonly keyFile?: string;
  /** Name in the agent's certificate; the host of `address` when absent. */
  readonly tlsServerName?: string;
  /** Sent as `ns` with every query; Consul's community edition refuses queries that carry one. */
  readonly namespace?: string;
  /** Admin partition of the gateway (Consul Enterprise); `default` when absent, and then not sent. */
  readonly partition?: string;
  /** The local datacenter; asked of Consul when absent. */
  readonly datacenter?: string;
  /** DNS domain of the agents; asked of the agent when absent, which takes `agent:read`, else `consul`. */
  readonly dnsDomain?: string;
  /**
   * Service id of a gateway that somebody else has registered; the one mesh gateway of the agent when absent.
   * Of no account beside `register`.
   */
  readonly proxyId?: string;
  /** Registers the gateway with the agent; absent: it is registered by somebody else, or needs not be. */
  readonly register?: RegisterOptions;
}

/** @throws ConfigProblems with everything that is wrong */
export function parseSettings(config: unknown): ConsulSettings {
  const problems: Problem[] = [];
  const settings = checked(config, SETTINGS, [], problems);
  if (problems.length > 0) throw new ConfigProblems(problems);
  return settings;
}

/**
 * Settings with their certificates read.
 *
 * @param baseDir relative file names begin here
 * @throws ConfigProblems when a file cannot be read
 */
export function optionsOf(settings: ConsulSettings, baseDir: string): ConsulOptions {
  const { caFile, caPath, certFile, keyFile, tokenFile, ...options } = settings;
  const problems: Problem[] = [];
  const read = (key: keyof ConsulSettings, name: string | undefined): string | undefined =>
    name === undefined ? undefined : attempt(key, problems, () => readFileSync(resolve(baseDir, name), 'utf8'));
  const ca = [...filled(read('caFile', caFile)), ...(attempt('caPath', problems, () => folder(baseDir, caPath)) ?? [])];
  const [cert, key] = [read('certFile', certFile), read('keyFile', keyFile)];
  if (problems.length > 0) throw new ConfigProblems(problems);
  return {
    ...options,
    ...(tokenFile === undefined ? {} : { tokenFile: resolve(baseDir, tokenFile) }),
    ...(ca.length === 0 ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

/** What a setting holds. An object stands for settings of its own. */
type Kind = 'text' | 'boolean' | 'texts' | { readonly [key: string]: Kind };

const SETTINGS = {
  address: 'text',
  token: 'text',
  tokenFile: 'text',
  caFile: 'text',
  caPath: 'text',
  certFile: 'text',
  keyFile: 'text',
  tlsServerName: 'text',
  namespace: 'text',
  partition: 'text',
  datacenter: 'text',
  dnsDomain: 'text',
  proxyId: 'text',
  register: {
    service: 'text',
    id: 'text',
    address: 'text',
    wanAddress: 'text',
    bindAddresses: 'texts',
    exposeServers: 'boolean',
    deregisterAfterCritical: 'text',
  } satisfies Readonly<Record<keyof RegisterOptions, Kind>>,
} satisfies Readonly<Record<keyof ConsulSettings, Kind>>;

function checked(
  value: unknown,
  kinds: { readonly [key: string]: Kind },
  path: readonly string[],
  problems: Problem[],
): JsonObject {
  const fields = object(value ?? {});
  if (fields === undefined) problems.push({ path, message: `expected settings, found ${JSON.stringify(value)}` });
  for (const [key, field] of Object.entries(fields ?? {})) {
    const kind = kinds[key];
    const at = [...path, key];
    if (kind === undefined) problems.push({ path: at, message: `unknown key, ${hint(key, Object.keys(kinds))}` });
    else if (typeof kind === 'object') checked(field, kind, at, problems);
    else if (!IS[kind](field))
      problems.push({ path: at, message: `expected ${NAMED[kind]}, found ${JSON.stringify(field)}` });
  }
  return fields ?? {};
}

const IS: Readonly<Record<Extract<Kind, string>, (value: unknown) => boolean>> = {
  text: (value) => typeof value === 'string',
  boolean: (value) => typeof value === 'boolean',
  texts: (value) => Object.values(object(value) ?? { none: 0 }).every((field) => typeof field === 'string'),
};
const NAMED: Readonly<Record<Extract<Kind, string>, string>> = {
  text: 'text',
  boolean: 'true or false',
  texts: 'texts by name',
};

function hint(key: string, known: readonly string[]): string {
  const [nearest] = known.toSorted((one, other) => leven(key, one) - leven(key, other));
  const isNear = nearest !== undefined && leven(key, nearest) <= Math.max(1, Math.floor(key.length / 2));
  return isNear ? `did you mean ${nearest}?` : `known keys are ${known.join(', ')}`;
}

function folder(baseDir: string, name: string | undefined): readonly string[] {
  if (name === undefined) return [];
  const path = resolve(baseDir, name);
  return readdirSync(path).map((file) => readFileSync(join(path, file), 'utf8'));
}

function filled(value: string | undefined): readonly string[] {
  return value === undefined ? [] : [value];
}

function attempt<T>(key: keyof ConsulSettings, problems: Problem[], read: () => T): T | undefined {
  try {
    return read();
  } catch (reason) {
    problems.push({ path: [key], message: reason instanceof Error ? reason.message : String(reason) });
    return undefined;
  }
}
