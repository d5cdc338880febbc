import type { SpiffeId } from './spiffe.ts';

/** Whether one service may connect to another. */
export interface Intention {
  /** Name of the source service, `*` for any. */
  readonly source: string;
  /** `default` when absent. */
  readonly sourceNamespace?: string;
  /** The peer of the source; absent for this cluster or federation. */
  readonly sourcePeer?: string;
  /**
   * The sameness group of the source (Consul Enterprise). Its members are not known here, so that the intention matches
   * no caller.
   */
  readonly sourceGroup?: string;
  /** Name of the destination service, `*` for any. */
  readonly destination: string;
  /** `default` when absent. */
  readonly destinationNamespace?: string;
  /** `http`: the intention has permissions for requests, which a TCP proxy cannot check. It denies (as in Consul). */
  readonly action: 'allow' | 'deny' | 'http';
  /**
   * A description of each permission, in order; part of the reason for which the intention denies. None when absent.
   */
  readonly permissions?: readonly string[];
}

/** One permission of an intention: the requests that it matches, and its action. */
export interface RequestPermission {
  /** `allow` or `deny`. */
  readonly action: string;
  /** `GET`, `PUT` …; empty for any. */
  readonly methods: readonly string[];
  /** A path, a prefix or a regular expression, as written; empty for any. */
  readonly path: string;
  /** Names of the headers that the permission matches. */
  readonly headers: readonly string[];
}

/** Formats a permission: `allow GET, PUT /admin with header x-user`. */
export function describePermission({ action, methods, path, headers }: RequestPermission): string {
  const parts = [action, methods.join(', '), path, headers.length === 0 ? '' : `with header ${headers.join(', ')}`];
  return parts.filter((part) => part !== '').join(' ');
}

/** A decision and its reason, for the logs of both sides. */
export interface Authorization {
  /** Whether the connection is allowed. */
  readonly allowed: boolean;
  /** The intention or default that decided. */
  readonly reason: string;
}

/** The input of {@link authorize}. */
export interface AuthorizationRequest {
  /** The caller, from its verified certificate. */
  readonly source: Extract<SpiffeId, { kind: 'service' }>;
  /**
   * The peer to which the certificate's trust domain belongs; absent for this cluster or federation. Only intentions
   * that name this peer apply to such a caller, even those for `*`: a peer's service never counts as the local service
   * of the same name.
   */
  readonly sourcePeer?: string;
  /** Name of the destination service. */
  readonly destination: string;
  /** `default` when absent. */
  readonly destinationNamespace?: string;
}

/**
 * Decides whether `source` may connect: by the most specific intention that matches (Consul's precedence: the
 * destination's name outweighs the source's), else by `byDefault`. Datacenters do not matter: an intention is between
 * services (as in Consul).
 *
 * The TLS layer must have verified the certificate's chain and trust domain.
 *
 * @param byDefault the decision when no intention matches: Consul's default policy, `allow` with ACLs disabled
 */
export function authorize(
  request: AuthorizationRequest,
  intentions: readonly Intention[],
  byDefault: 'allow' | 'deny',
): Authorization {
  const [first] = matchingIntentions(request, intentions);
  if (first === undefined)
    return { allowed: byDefault === 'allow', reason: `no intention matches: ${byDefault} by default` };
  return { allowed: first.action === 'allow', reason: describeIntention(first) };
}

/** Formats an intention: `intention web => db: allow`. One with permissions also states why it denies. */
export function describeIntention(intention: Intention): string {
  const { source, sourcePeer, destination, action } = intention;
  const of = sourcePeer === undefined ? '' : ` of peer ${sourcePeer}`;
  return `intention ${source}${of} => ${destination}: ${action === 'http' ? `deny, ${whyRequestsDeny(intention)}` : action}`;
}

/** Returns why an intention with permissions denies. */
export function whyRequestsDeny({ permissions = [] }: Intention): string {
  const rules = permissions.map((text, index) => `permission ${index + 1}, ${text}`);
  return rules.length === 0 ? FOR_REQUESTS : `${FOR_REQUESTS}: ${rules.join('; ')}`;
}

const FOR_REQUESTS =
  'since its permissions are for HTTP requests (layer 7), which cannot be checked in a TCP connection (layer 4)';

/** Returns the intentions that match the request, the most specific first. */
export function matchingIntentions(
  request: AuthorizationRequest,
  intentions: readonly Intention[],
): readonly Intention[] {
  return intentions.filter((intention) => matches(intention, request)).toSorted((a, b) => exactness(b) - exactness(a));
}

const ANY = '*';

function matches(intention: Intention, request: AuthorizationRequest): boolean {
  const { source, sourcePeer, destination, destinationNamespace } = request;
  return (
    intention.sourceGroup === undefined &&
    intention.sourcePeer === sourcePeer &&
    covers(intention.source, source.service) &&
    covers(intention.sourceNamespace ?? 'default', source.namespace) &&
    covers(intention.destination, destination) &&
    covers(intention.destinationNamespace ?? 'default', destinationNamespace ?? 'default')
  );
}

function covers(pattern: string, name: string): boolean {
  return pattern === ANY || pattern === name;
}

/** Ranks an intention: Consul compares destinations first, and within each side the name before the namespace. */
function exactness(intention: Intention): number {
  const { source, sourceNamespace, destination, destinationNamespace } = intention;
  const parts = [destinationNamespace, destination, sourceNamespace, source];
  return parts.reduce((sum, part) => sum * 2 + (part === ANY ? 0 : 1), 0);
}
