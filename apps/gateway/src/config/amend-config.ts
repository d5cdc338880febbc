import type { Problem } from '@meshgate/core';
import type { CommandSettings, Override } from '../cli/consul-flags.ts';

/** The contents of a configuration file, amended by the command line and the environment. */
interface Amended {
  readonly value: unknown;
  /** Problems of the amendments. */
  readonly problems: readonly Problem[];
  /** Returns `problem` under the name of the flag or variable that caused it; `undefined` when none did. */
  blamed(problem: Problem): Problem | undefined;
}

/** An amendment of a configuration before it is parsed. */
export type Amend = (value: unknown) => Amended;

/** Changes nothing. */
export const asWritten: Amend = (value) => ({ value, problems: [], blamed: () => undefined });

/**
 * Applies `settings` to the entry `use: consul` of a configuration. Pure.
 *
 * @param adds whether to append such an entry to the sources when there is none
 */
export function amending(settings: CommandSettings, adds: boolean): Amend {
  return (value) => {
    const { problems } = settings;
    if (!isMapping(value)) return { ...asWritten(value), problems };
    const admin = settings.overrides.find(({ path }) => path[0] === 'admin');
    const config = admin === undefined ? value : { ...value, admin: admin.value };
    const sources = listOf(value['sources'] ?? []);
    const at = sources?.findIndex(isConsul) ?? -1;
    if (sources === undefined || (at === -1 && !adds))
      return { value: config, problems, blamed: blaming(settings.overrides, []) };
    const index = at === -1 ? sources.length : at;
    const written = sources[index];
    const changed = changedEntry(isMapping(written) ? written : { use: 'consul' }, settings);
    return {
      value: { ...config, sources: [...sources.slice(0, index), changed.entry, ...sources.slice(index + 1)] },
      problems: [...problems, ...changed.problems],
      blamed: blaming(settings.overrides, ['sources', index]),
    };
  };
}

type SettingsMapping = Readonly<Record<string, unknown>>;

interface ChangedEntry {
  readonly entry: SettingsMapping;
  readonly problems: readonly Problem[];
}

function changedEntry(written: SettingsMapping, { overrides, secure }: CommandSettings): ChangedEntry {
  const about = (key: string): readonly Override[] => overrides.filter(({ path }) => path[0] === key);
  const registers = 'register' in written || about('register').some(({ path }) => path.length === 1);
  const ofRegister = about('register').filter(({ path }) => path.length === 2);
  const apart = new Set(['admin', 'register', 'proxyId']);
  const entry = { ...written, ...keyed(overrides.filter(({ path }) => !apart.has(path[0] ?? ''))) };
  const address = secure ? { address: secured(entry['address']) } : {};
  const registration = registers
    ? registering(written['register'], ofRegister, about('proxyId'))
    : keyed(about('proxyId'));
  return {
    entry: defined({ ...entry, ...address, ...registration }),
    problems: registers ? [] : ofRegister.map(({ by }) => ({ path: [by], message: 'expected --register with it' })),
  };
}

/**
 * Applies `--proxy-id`, which has two meanings, as in Consul: the id to register, or the id of an existing
 * registration.
 */
function registering(written: unknown, overrides: readonly Override[], proxyId: readonly Override[]): SettingsMapping {
  if (written !== undefined && !isMapping(written)) return {};
  const id = proxyId.map(({ value }) => ['id', value] as const);
  return { register: { ...written, ...keyed(overrides), ...Object.fromEntries(id) } };
}

/** Applies a request for TLS, whatever the scheme of the address; a unix socket needs no TLS. */
function secured(address: unknown): unknown {
  if (address === undefined) return DEFAULT_SECURE_ADDRESS;
  if (typeof address !== 'string' || address.startsWith('unix://')) return address;
  return `https://${address.replace(/^https?:\/\//i, '')}`;
}

const DEFAULT_SECURE_ADDRESS = 'https://127.0.0.1:8500';

function blaming(overrides: readonly Override[], entry: Problem['path']): Amended['blamed'] {
  const byPath = new Map(overrides.map(({ path, by }) => [JSON.stringify(path), by]));
  return ({ path, message, ...rest }) => {
    const inEntry = entry.every((part, index) => path[index] === part) ? path.slice(entry.length) : path;
    const keyPath = inEntry.join('.') === 'register.id' ? ['proxyId'] : inEntry;
    for (let length = keyPath.length; length > 0; length -= 1) {
      const by = byPath.get(JSON.stringify(keyPath.slice(0, length)));
      if (by !== undefined && rest.at === undefined) return { message, path: [by] };
    }
    return undefined;
  };
}

function keyed(overrides: readonly Override[]): SettingsMapping {
  return Object.fromEntries(overrides.map(({ path, value }) => [path.at(-1) ?? '', value]));
}

function defined(entry: SettingsMapping): SettingsMapping {
  return Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== undefined));
}

function isConsul(source: unknown): boolean {
  return isMapping(source) && source['use'] === 'consul';
}

function listOf(value: unknown): readonly unknown[] | undefined {
  return Array.isArray(value) ? value : undefined;
}

function isMapping(value: unknown): value is SettingsMapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
