/** How a Connect proxy reaches an upstream in another datacenter. Without any setting: directly, as with `none`. */
export type GatewayMode =
  /** Straight to the instances, at their WAN addresses. */
  | 'none'
  /** Through a gateway of the proxy's own datacenter, which forwards to a gateway of the upstream's. */
  | 'local'
  /** Through a gateway of the upstream's datacenter. */
  | 'remote';

/**
 * The places where a mode can be set, in order of precedence.
 *
 * Four of them are as old as mesh gateways: `upstream` (`Proxy.Upstreams[].MeshGateway`), `service-instance` (`Proxy.MeshGateway`),
 * `service-defaults` and `proxy-defaults`. Consul 1.10 added `UpstreamConfig` of the own service's defaults: an override for one
 * upstream comes before the instance, the defaults for all upstreams after it. The discovery chain (the defaults of the destination)
 * applies only when the dialling side sets none.
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

/** One of {@link MODE_PLACES}. */
export type ModeScope = (typeof MODE_SCOPES)[number];

/** The setting in one place. */
export interface ModeSetting {
  /** Which place it is. */
  readonly scope: ModeScope;
  /** As written; empty when the place sets none, which is the same as omitting it. */
  readonly value: string;
  /** Where it is written, for messages: the Consul object (`service-defaults/web`) or the position in a file. */
  readonly object: string;
}

/** The mode in effect, and why. */
export type ModeDecision =
  | {
      readonly kind: 'decided';
      readonly mode: GatewayMode;
      readonly by: ModeSetting;
      /** The other places that set one, in order of precedence: what would apply without the first. */
      readonly others: readonly ModeSetting[];
    }
  /** No place sets a mode. */
  | { readonly kind: 'unset' }
  /** The deciding place has an invalid mode: the upstream must not be dialled by a path that nobody chose. */
  | { readonly kind: 'refused'; readonly by: ModeSetting; readonly message: string };

/** A mode, none, or why the string is not a mode. */
export type ParsedGatewayMode =
  | { readonly kind: 'mode'; readonly mode: GatewayMode }
  | { readonly kind: 'unset' }
  | { readonly kind: 'unknown'; readonly message: string };

/** Parses a mode as Consul does: `""` sets none, and case matters. */
export function parseGatewayMode(text: string): ParsedGatewayMode {
  if (text === '') return { kind: 'unset' };
  const mode = modeNamed(text);
  if (mode !== undefined) return { kind: 'mode', mode };
  const intended = modeNamed(text.trim().toLowerCase());
  const hint = intended === undefined ? '' : `: write ${intended}, in lower case`;
  return { kind: 'unknown', message: `expected none, local or remote, found ${JSON.stringify(text)}${hint}` };
}

/** The setting in effect among `settings`, given in any order. Of two for the same place the earlier is used. */
export function decideMode(settings: readonly ModeSetting[]): ModeDecision {
  const inOrder = settings.filter(({ value }) => value !== '').toSorted((a, b) => rank(a) - rank(b));
  const [by, ...others] = inOrder;
  if (by === undefined) return { kind: 'unset' };
  const parsed = parseGatewayMode(by.value);
  if (parsed.kind === 'mode') return { kind: 'decided', mode: parsed.mode, by, others };
  return { kind: 'refused', by, message: `${by.object}: ${parsed.kind === 'unknown' ? parsed.message : ''}` };
}

/** The mode of `decision`; `undefined` when none is set, or it is invalid. */
export function modeOf(decision: ModeDecision): GatewayMode | undefined {
  return decision.kind === 'decided' ? decision.mode : undefined;
}

/** One line for people: the mode, the place that decided, and what would apply without it. */
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
