import type { SpiffeId } from './spiffe.ts';

/** Whether one service may connect to another. */
export interface Intention {
  /** Name of the source service, `*` for any. */
  readonly source: string;
  /** `default` when absent. */
  readonly sourceNamespace?: string;
  /** The peer of the source; absent for this cluster or federation. */
  readonly sourcePeer?: string;
  /** Name of the destination service, `*` for any. */
  readonly destination: string;
  /** `default` when absent. */
  readonly destinationNamespace?: string;
  /** `http`: it has permissions for requests, which a TCP proxy cannot check. Such an intention denies (as in Consul). */
  readonly action: 'allow' | 'deny' | 'http';
  /** What each of its permissions is about, in words and in their order: for the reason why it denies. None when absent. */
  readonly permissions?: readonly string[];
}

/** One permission of an intention, as configuration has it: what it says of a request. */
export interface RequestPermission {
  /** `allow` or `deny`. */
  readonly action: string;
  /** `GET`, `PUT` …; any when empty. */
  readonly methods: readonly string[];
  /** Path, its beginning or an expression for it, as written; any when empty. */
  readonly path: string;
  /** Names of headers on which it depends. */
  readonly headers: readonly string[];
}

/** `allow GET, PUT /admin with header x-user`. */
export function describePermission({ action, methods, path, headers }: RequestPermission): string {
  const parts = [action, methods.join(', '), path, headers.length === 0 ? '' : `with header ${headers.join(', ')}`];
  return parts.filter((part) => part !== '').join(' ');
}

/** A decision with its reason, for the log of both sides. */
export interface Authorization {
  /** Whether the connection is allowed. */
  readonly allowed: boolean;
  /** The intention or default that decided, in words. */
  readonly reason: string;
}

/** The input of {@link authorize}. */
export interface AuthorizationRequest {
  /** The caller, from its verified certificate. */
  readonly source: Extract<SpiffeId, { kind: 'service' }>;
  /**
   * The peer that the certificate's trust domain belongs to; absent for this cluster or federation. Only intentions that name this
   * peer apply to such a caller, including those for `*`: a service of a peer is never mistaken for the local one of the same name.
   */
  readonly sourcePeer?: string;
  /** Name of the destination service. */
  readonly destination: string;
  /** `default` when absent. */
  readonly destinationNamespace?: string;
}

/**
 * Whether `source` may connect: decided by the most specific intention that matches (Consul's precedence: the destination's name
 * outweighs the source's), else by `byDefault`. Datacenters do not matter: an intention is about services (as in Consul).
 *
 * The TLS layer must have verified chain and trust domain of the certificate before.
 *
 * @param byDefault the decision without an intention: Consul's default policy, `allow` with ACLs disabled
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

/** `intention web => db: allow`; of one with permissions also why it denies. */
export function describeIntention(intention: Intention): string {
  const { source, sourcePeer, destination, action } = intention;
  const of = sourcePeer === undefined ? '' : ` of peer ${sourcePeer}`;
  return `intention ${source}${of} => ${destination}: ${action === 'http' ? `deny, ${whyRequestsDeny(intention)}` : action}`;
}

/** Why an intention with permissions denies, in words. */
export function whyRequestsDeny({ permissions = [] }: Intention): string {
  const rules = permissions.map((text, index) => `permission ${index + 1}, ${text}`);
  return rules.length === 0 ? FOR_REQUESTS : `${FOR_REQUESTS}: ${rules.join('; ')}`;
}

const FOR_REQUESTS =
  'since its permissions are for HTTP requests (layer 7), which cannot be checked in a TCP connection (layer 4)';

/** The intentions that apply to the request, the most specific first. */
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

/** Consul orders by destination first, and within each by name before namespace. */
function exactness(intention: Intention): number {
  const { source, sourceNamespace, destination, destinationNamespace } = intention;
  const parts = [destinationNamespace, destination, sourceNamespace, source];
  return parts.reduce((sum, part) => sum * 2 + (part === ANY ? 0 : 1), 0);
}
