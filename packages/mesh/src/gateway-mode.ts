/** How a Connect proxy reaches an upstream in another datacenter; directly, as with `none`, when no mode is set. */
export type GatewayMode =
  /** Dials the instances at their WAN addresses. */
  | 'none'
  /** Dials a gateway of the proxy's own datacenter, which forwards to a gateway of the upstream's. */
  | 'local'
  /** Dials a gateway of the upstream's datacenter. */
  | 'remote';

/**
 * The scopes in which a mode can be set, in order of precedence.
 *
 * Four of them are as old as mesh gateways: `upstream` (`Proxy.Upstreams[].MeshGateway`), `service-instance`
 * (`Proxy.MeshGateway`), `service-defaults` and `proxy-defaults`. Consul 1.10 added `UpstreamConfig` to the own
 * service's defaults: an override for one upstream precedes the instance, the defaults for all upstreams follow it. The
 * discovery chain (the defaults of the destination) applies only when the dialling side sets none.
 */
export const MODE_SCOPES = [
  'upstream',
  'upstream-override',
  'service-instance',
  'upstream-defaults',
  'service-defaults',
  'proxy-defaults',
  'discovery-chain',
] as const;

/** One of {@link MODE_SCOPES}. */
export type ModeScope = (typeof MODE_SCOPES)[number];

/** The mode that one scope sets. */
export interface ModeSetting {
  /** The scope that sets it. */
  readonly scope: ModeScope;
  /** As written; empty, like an absent setting, when the scope sets no mode. */
  readonly value: string;
  /** The location for messages: the Consul object (`service-defaults/web`) or a position in a file. */
  readonly object: string;
}

/** The mode in effect, and the setting that decides it. */
export type ModeDecision =
  | {
      readonly kind: 'decided';
      readonly mode: GatewayMode;
      readonly by: ModeSetting;
      /** The settings of lower precedence, in order: the first of them would apply instead. */
      readonly others: readonly ModeSetting[];
    }
  /** No scope sets a mode. */
  | { readonly kind: 'unset' }
  /** The deciding scope has an invalid mode: the upstream must not be dialled, since no path to it is configured. */
  | { readonly kind: 'refused'; readonly by: ModeSetting; readonly message: string };

/** A mode, no mode, or why the string is not a mode. */
export type ParsedGatewayMode =
  | { readonly kind: 'mode'; readonly mode: GatewayMode }
  | { readonly kind: 'unset' }
  | { readonly kind: 'unknown'; readonly message: string };

/** Parses a mode as Consul does: `""` sets none, and the names are case-sensitive. */
export function parseGatewayMode(text: string): ParsedGatewayMode {
  if (text === '') return { kind: 'unset' };
  const mode = modeNamed(text);
  if (mode !== undefined) return { kind: 'mode', mode };
  const intended = modeNamed(text.trim().toLowerCase());
  const hint = intended === undefined ? '' : `: write ${intended}, in lower case`;
  return { kind: 'unknown', message: `expected none, local or remote, found ${JSON.stringify(text)}${hint}` };
}

/** Returns the setting in effect among `settings`, in any order. Of two in the same scope, the earlier one wins. */
export function decideMode(settings: readonly ModeSetting[]): ModeDecision {
  const inOrder = settings.filter(({ value }) => value !== '').toSorted((a, b) => rank(a) - rank(b));
  const [by, ...others] = inOrder;
  if (by === undefined) return { kind: 'unset' };
  const parsed = parseGatewayMode(by.value);
  if (parsed.kind === 'mode') return { kind: 'decided', mode: parsed.mode, by, others };
  return { kind: 'refused', by, message: `${by.object}: ${parsed.kind === 'unknown' ? parsed.message : ''}` };
}

/** Returns the mode of `decision`; `undefined` when none is set, or when it is invalid. */
export function modeOf(decision: ModeDecision): GatewayMode | undefined {
  return decision.kind === 'decided' ? decision.mode : undefined;
}

/** Describes a decision in one line: the mode, its scope, and the modes that would apply without it. */
export function explainMode(decision: ModeDecision): string {
  switch (decision.kind) {
    case 'unset':
      return 'no mode is set: direct';
    case 'refused':
      return decision.message;
    case 'decided': {
      const settings = [decision.by, ...decision.others];
      return settings.map(({ value, ...where }) => `${value} by ${scopeName(where)}`).join('; else ');
    }
  }
}

const MODES: readonly GatewayMode[] = ['none', 'local', 'remote'];

function modeNamed(text: string): GatewayMode | undefined {
  return MODES.find((mode) => mode === text);
}

function rank({ scope }: ModeSetting): number {
  return MODE_SCOPES.indexOf(scope);
}

function scopeName({ scope, object }: Pick<ModeSetting, 'scope' | 'object'>): string {
  return object === '' ? SCOPE_NAMES[scope] : `${SCOPE_NAMES[scope]} (${object})`;
}

const SCOPE_NAMES: Readonly<Record<ModeScope, string>> = {
  upstream: 'the upstream definition',
  'upstream-override': "the upstream's override in the service defaults",
  'service-instance': 'the service instance',
  'upstream-defaults': 'the upstream defaults in the service defaults',
  'service-defaults': 'the service defaults',
  'proxy-defaults': 'the proxy defaults',
  'discovery-chain': 'the discovery chain',
};
