import type { GatewayConfig } from '../config/config-schema.ts';

/**
 * When a changed setting takes effect: `now`, for `new connections`, or only after a restart, which `meshgate upgrade`
 * performs without dropping a connection.
 */
export type Effect = 'now' | 'new connections' | 'restart';

/** When a setting takes effect; `within` has the nested settings that differ. */
interface Rule<Value> {
  readonly effect: Effect;
  /** Why a reload cannot change it. */
  readonly why?: string;
  readonly within?: { readonly [Key in keyof Value]?: Rule<NonNullable<Value[Key]>> };
}

/**
 * Settings that a reload applies in a sidecar. All others come from its definition in Consul or mesh files, which is
 * followed.
 */
export const SIDECAR_SETTINGS = ['admin', 'limits', 'keepAlive', 'drain', 'log'] as const;

/** Settings that a reload applies in a gateway. */
export const LIVE_SETTINGS = [
  'listeners',
  'sources',
  'admin',
  'limits',
  'keepAlive',
  'prefer',
  'drain',
  'log',
] as const;

/** One of {@link SIDECAR_SETTINGS}. */
export type SidecarSetting = (typeof SIDECAR_SETTINGS)[number];

/** One of {@link LIVE_SETTINGS}. */
export type LiveSetting = (typeof LIVE_SETTINGS)[number];

/** Requires a rule for every setting; settings outside {@link LiveSetting} must have the effect `restart`. */
type Rules<Value> = {
  readonly [Name in keyof Required<Value>]: Rule<NonNullable<Value[Name]>> & {
    readonly effect: Name extends LiveSetting ? Exclude<Effect, 'restart'> : 'restart';
  };
};

/**
 * The effect of every setting. Reports and reloads are both derived from this table: the compiler rejects a new setting
 * that is missing here, and a reloadable one without an implementation (see {@link LiveSetting}).
 * docs/operate/upgrade.md lists the effects.
 */
const SETTINGS = {
  listeners: { effect: 'now' },
  sources: { effect: 'now' },
  admin: { effect: 'now' },
  // Clients are counted by their prefix, so a new one needs new counters.
  limits: {
    effect: 'new connections',
    within: {
      perClient: {
        effect: 'new connections',
        within: { prefix: { effect: 'restart', why: 'clients are counted by it' } },
      },
    },
  },
  keepAlive: { effect: 'new connections' },
  prefer: { effect: 'new connections' },
  drain: { effect: 'now' },
  log: { effect: 'now' },
  plugins: { effect: 'restart', why: 'Node.js does not unload the code of a module' },
  stateDir: { effect: 'restart', why: 'sources read their last routes from it when they start' },
  transport: { effect: 'restart', why: 'a connection stays with the transport that has accepted it' },
  workers: { effect: 'restart', why: 'each process has its share of every limit' },
} satisfies Rules<GatewayConfig>;

/** A {@link Rule} of any kind. */
interface AnyRule {
  readonly effect: Effect;
  readonly why?: string;
  readonly within?: Readonly<Record<string, AnyRule>>;
}

const RULES: Readonly<Record<string, AnyRule>> = SETTINGS;

/** Effects by setting or group of settings; the longest matching prefix applies. */
export const EFFECTS: Readonly<Record<string, Effect>> = Object.fromEntries(flat(RULES));

function flat(rules: Readonly<Record<string, AnyRule>>, above = '', inherited?: Effect): [string, Effect][] {
  return Object.entries(rules).flatMap(([name, { effect, within = {} }]) => [
    ...(effect === inherited ? [] : [[`${above}${name}`, effect] as [string, Effect]]),
    ...flat(within, `${above}${name}.`, effect),
  ]);
}

/**
 * Returns when a change of `setting` takes effect.
 *
 * @param isThere whether a group has a setting before and after the change: adding or removing a whole group has its
 * own rule
 */
export function effectOf(setting: string, isThere: (group: string) => boolean): Effect {
  const [first = '', ...rest] = setting.split('.');
  let rule: AnyRule = RULES[first] ?? { effect: 'restart' };
  let group = first;
  for (const name of rest) {
    const inner = rule.within?.[name];
    if (inner === undefined || !isThere(group)) break;
    rule = inner;
    group = `${group}.${name}`;
  }
  return rule.effect;
}

/** Returns why a reload cannot change `setting`; `undefined` when that depends on the kind of change. */
export function whyRestart(setting: string): string | undefined {
  const [first = '', ...rest] = setting.split('.');
  let rule = RULES[first];
  for (const name of rest) rule = rule?.within?.[name] ?? rule;
  return rule?.why;
}

/**
 * Returns `wanted`, except for settings that need a restart, which remain as in `before`.
 *
 * @param live settings that a reload can apply
 */
export function reloaded(
  before: GatewayConfig,
  wanted: GatewayConfig,
  live: readonly LiveSetting[] = LIVE_SETTINGS,
): GatewayConfig {
  const within = Object.fromEntries(
    Object.entries(RULES).map(([name, rule]) => [name, isOneOf(live, name) ? rule : RESTART]),
  );
  // Each value comes from one of the two configurations.
  return merged({ effect: 'now', within }, before, wanted) as GatewayConfig;
}

/** Whether `setting`, or its group, is one of `live`. */
export function isOneOf(live: readonly LiveSetting[], setting: string): boolean {
  const [first] = setting.split('.');
  return live.some((one) => one === first);
}

const RESTART: AnyRule = { effect: 'restart' };

function merged({ effect, within }: AnyRule, before: unknown, wanted: unknown): unknown {
  if (effect === 'restart') return before;
  if (within === undefined || !isMapping(before) || !isMapping(wanted)) return wanted;
  const settled = Object.entries(within).map(
    ([name, rule]) => [name, merged(rule, before[name], wanted[name])] as const,
  );
  const all = { ...wanted, ...Object.fromEntries(settled) };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
