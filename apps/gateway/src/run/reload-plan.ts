import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { formatEndpoint } from '@meshgate/core';
import { formatDuration } from '@meshgate/core/parts';
import type { PluginParts } from '@meshgate/core/parts';
import type { GatewayConfig } from '../config/config-schema.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import type { InstalledUse } from '../config/plugins.ts';
import { effectOf, isOneOf, LIVE_SETTINGS } from './setting-effects.ts';
import type { Effect, LiveSetting } from './setting-effects.ts';

/** One change of a reload. */
export interface SettingChange {
  /** Name of the setting in the configuration: `limits.connections`, `listeners.edge`, `sources.consul`. */
  readonly setting: string;
  readonly change: 'added' | 'removed' | 'changed';
  readonly effect: Effect;
  /** The old value; absent when it must not be shown. */
  readonly from?: string;
  /** The new value; absent when it must not be shown. */
  readonly to?: string;
}

/** The use of a plugin. Its settings are compared but not shown, since they may contain secrets. */
interface UseSettings {
  readonly use: string;
  readonly fingerprint: string;
  /** It added a part that only a restart can replace, such as an observer. */
  readonly fixed: boolean;
}

/** A flattened configuration, for comparison. */
export interface FlatSettings {
  /** Absolute path of the configuration file; absent without one. */
  readonly file?: string;
  /** See {@link LoadedConfig.proxyId}. */
  readonly proxyId?: string;
  readonly sources: readonly UseSettings[];
  readonly plugins: readonly UseSettings[];
  /** All other settings, by name. */
  readonly values: Readonly<Record<string, unknown>>;
}

/** The settings of a configuration, with its file and its proxy. */
export function settingsOf({ config, uses, file, proxyId }: LoadedConfig): FlatSettings {
  return {
    ...flatSettings(config, uses),
    ...(file !== undefined && { file: resolve(file) }),
    ...(proxyId !== undefined && { proxyId }),
  };
}

/** @param uses the plugins of the configuration, as installed */
export function flatSettings(config: GatewayConfig, uses: readonly InstalledUse[]): FlatSettings {
  const { sources: _sources, plugins: _plugins, listeners, ...rest } = config;
  const values = Object.fromEntries([
    ...listeners.map(({ name, ...listener }) => [`listeners.${name}`, listener] as const),
    ...leaves(rest),
  ]);
  const of = (list: 'sources' | 'plugins'): readonly UseSettings[] =>
    uses.filter(({ use }) => use.list === list).map(({ use, parts }) => useSettings(use.use, use.settings, parts));
  // As the admin API returns it: without unset keys.
  return JSON.parse(JSON.stringify({ sources: of('sources'), plugins: of('plugins'), values })) as FlatSettings;
}

/**
 * Returns the changes of a reload, in the order of the settings. Pure.
 *
 * @param live the settings that a reload can apply; all others need a restart
 */
export function planReload(
  earlier: FlatSettings,
  later: FlatSettings,
  live: readonly LiveSetting[] = LIVE_SETTINGS,
): readonly SettingChange[] {
  return changesOf(earlier, later).map((one) => (isOneOf(live, one.setting) ? one : { ...one, effect: 'restart' }));
}

function changesOf(earlier: FlatSettings, later: FlatSettings): readonly SettingChange[] {
  const [before, after] = [switchedFor(earlier, later), switchedFor(later, earlier)];
  const names = new Set([...Object.keys(before.values), ...Object.keys(after.values)]);
  const isThere = (group: string): boolean =>
    [before, after].every(({ values }) => Object.keys(values).some((name) => name.startsWith(`${group}.`)));
  return [
    ...Array.from(names).flatMap((setting) => {
      const [from, to] = [before.values[setting], after.values[setting]];
      return isDeepStrictEqual(from, to)
        ? []
        : [valueChange({ setting, effect: effectOf(setting, isThere) }, from, to)];
    }),
    ...useChanges('sources', before.sources, after.sources),
    ...useChanges('plugins', before.plugins, after.plugins),
  ];
}

/**
 * For a group of settings that is a single value in `other`, such as `log.access: false`, keeps only that the group is
 * on.
 */
function switchedFor(settings: FlatSettings, other: FlatSettings): FlatSettings {
  const entries = Object.entries(settings.values).map(([name, value]): [string, unknown] => {
    const group = Object.keys(other.values).find((one) => name.startsWith(`${one}.`));
    return group === undefined ? [name, value] : [group, 'on'];
  });
  return { ...settings, values: Object.fromEntries(entries) };
}

/** Formats a change: `limits.connections: 100 to 200 (new connections)`. */
export function changeText({ setting, effect, from, to, ...one }: SettingChange): string {
  const what = one.change === 'changed' && from !== undefined && to !== undefined ? `${from} to ${to}` : one.change;
  return `${setting}: ${what} (${EFFECT_LABELS[effect]})`;
}

const EFFECT_LABELS: Readonly<Record<Effect, string>> = {
  now: 'at once',
  'new connections': 'for new connections',
  restart: 'needs a restart: meshgate upgrade',
};

function valueChange(of: Pick<SettingChange, 'setting' | 'effect'>, from: unknown, to: unknown): SettingChange {
  const what = from === undefined ? 'added' : to === undefined ? 'removed' : 'changed';
  const shown = {
    ...(from !== undefined && { from: shownAs(from, of.setting) }),
    ...(to !== undefined && { to: shownAs(to, of.setting) }),
  };
  // Omits equal values: when the address of a listener is unchanged, another of its settings has changed.
  return { ...of, change: what, ...(shown.from !== shown.to && shown) };
}

function shownAs(value: unknown, setting: string): string {
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map((one) => shownAs(one, setting)).join(', ');
  const endpoint = typeof value === 'object' && value !== null && 'endpoint' in value ? value.endpoint : undefined;
  if (isEndpoint(endpoint)) return formatEndpoint(endpoint);
  // A limit that is off is infinite, which JSON cannot represent.
  if (value === null) return 'off';
  if (typeof value === 'number' && DURATION.test(setting)) return formatDuration(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Names of settings in milliseconds. */
const DURATION = /^(?:drain\.\w+|keepAlive\.(?:idle|interval|userTimeout)|limits\.(?:\w+Timeout|maxAge))$/;

function isEndpoint(value: unknown): value is { readonly host: string; readonly port: number } {
  return typeof value === 'object' && value !== null && 'host' in value && 'port' in value;
}

/** Compares the uses of plugins. One use before and one after count as a change. */
function useChanges(
  list: 'sources' | 'plugins',
  before: readonly UseSettings[],
  after: readonly UseSettings[],
): readonly SettingChange[] {
  const gone = without(before, after);
  const added = without(after, before);
  const changed = gone.filter(({ use }) => added.some((one) => one.use === use));
  const effect = (uses: readonly UseSettings[]): Effect =>
    list === 'plugins' || uses.some(({ fixed }) => fixed) ? 'restart' : 'now';
  const isChanged = ({ use }: UseSettings): boolean => changed.some((one) => one.use === use);
  const named = ({ use }: UseSettings): string => `${list}.${use}`;
  const all: readonly SettingChange[] = [
    ...changed.map((one) => {
      const now = added.filter(({ use }) => use === one.use);
      return { setting: named(one), change: 'changed', effect: effect([one, ...now]) } as const;
    }),
    ...gone.filter((one) => !isChanged(one)).map((one) => change(named(one), 'removed', effect([one]))),
    ...added.filter((one) => !isChanged(one)).map((one) => change(named(one), 'added', effect([one]))),
  ];
  if (all.length > 0 || isDeepStrictEqual(before, after)) return all;
  return [
    {
      setting: list,
      change: 'changed',
      effect: list === 'plugins' ? 'restart' : 'now',
      from: 'order',
      to: 'another order',
    },
  ];
}

function change(setting: string, what: 'added' | 'removed', effect: Effect): SettingChange {
  return { setting, change: what, effect };
}

function without(all: readonly UseSettings[], others: readonly UseSettings[]): readonly UseSettings[] {
  const remaining = [...others];
  return all.filter((one) => {
    const at = remaining.findIndex((other) => other.use === one.use && other.fingerprint === one.fingerprint);
    if (at !== -1) remaining.splice(at, 1);
    return at === -1;
  });
}

function useSettings(use: string, settings: unknown, parts: PluginParts): UseSettings {
  return { use, fingerprint: fingerprint(settings), fixed: addsOthersThanSources(parts) };
}

/**
 * Whether a plugin adds parts other than sources and services, which are replaced individually: other parts belong to
 * every connection, or to a request of an operator.
 */
function addsOthersThanSources(parts: PluginParts): boolean {
  const { sources: _sources, listenerSources: _listeners, services: _services, ...others } = parts;
  return Object.values(others).some((list: Iterable<unknown>) => Array.from(list).length > 0);
}

/** Truncated, so that it does not reveal secrets in the settings. */
function fingerprint(settings: unknown): string {
  return createHash('sha256').update(canonical(settings)).digest('hex').slice(0, FINGERPRINT_CHARS);
}

const FINGERPRINT_CHARS = 8;

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, one: unknown) =>
    typeof one === 'object' && one !== null && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : one,
  );
}

/** Flattens nested settings. `limits.helloTimeoutMs` is the setting `limits.helloTimeout`. */
function* leaves(value: object, above = ''): Generator<readonly [string, unknown]> {
  for (const [key, one] of Object.entries(value) as readonly [string, unknown][]) {
    const name = `${above}${key.replace(/Ms$/, '')}`;
    if (typeof one === 'object' && one !== null && !Array.isArray(one)) yield* leaves(one, `${name}.`);
    else if (one !== undefined) yield [name, one];
  }
}
