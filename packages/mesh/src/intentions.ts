import type { SpiffeId } from './spiffe.ts';

/** Whether one service may connect to another. */
export interface Intention {
  /** Name of the service that connects, `*` for any. */
  readonly source: string;
  /** `default` when absent. */
  readonly sourceNamespace?: string;
  /** The peer from which the source comes; absent for this cluster or federation. */
  readonly sourcePeer?: string;
  /** Name of the service that is connected to, `*` for any. */
  readonly destination: string;
  /** `default` when absent. */
  readonly destinationNamespace?: string;
  /** `http`: it has permissions for requests, which a TCP proxy cannot check. Such an intention denies (as in Consul). */
  readonly action: 'allow' | 'deny' | 'http';
}

/** A judgement, and why, for the log of both sides. */
export interface Authorization {
  /** Whether the connection may stand. */
  readonly allowed: boolean;
  /** The intention or the default that decided, for people. */
  readonly reason: string;
}

/** What {@link authorize} judges. */
export interface AuthorizationRequest {
  /** Who connects, by its verified certificate. */
  readonly source: Extract<SpiffeId, { kind: 'service' }>;
  /**
   * The peer whose trust domain the certificate is of; absent for this cluster or federation. Only intentions that name this peer are
   * about such a caller, also those for `*`: a service of a peer is never taken for the local one of its name.
   */
  readonly sourcePeer?: string;
  /** Name of the service that is connected to. */
  readonly destination: string;
  /** `default` when absent. */
  readonly destinationNamespace?: string;
}

/**
 * Whether `source` may connect: by the most exact intention that matches (Consul's precedence: the destination's name counts more
 * than the source's), else `byDefault`. Datacenters play no part: an intention is about services (as in Consul).
 *
 * Chain and trust domain of the certificate are the TLS layer's to check, beforehand.
 *
 * @param byDefault what holds without an intention: Consul's default policy, `allow` where ACLs are off
 */
export function authorize(
  request: AuthorizationRequest,
  intentions: readonly Intention[],
  byDefault: 'allow' | 'deny',
): Authorization {
  const [first] = matchingIntentions(request, intentions);
  if (first === undefined)
    return { allowed: byDefault === 'allow', reason: `no intention matches: ${byDefault} by default` };
  const { source, sourcePeer, destination, action } = first;
  const why = action === 'http' ? `deny, ${FOR_REQUESTS}` : action;
  const of = sourcePeer === undefined ? '' : ` of peer ${sourcePeer}`;
  return { allowed: action === 'allow', reason: `intention ${source}${of} => ${destination}: ${why}` };
}

/** Why an intention with permissions denies, for people. */
export const FOR_REQUESTS = 'since its permissions are for HTTP requests, which cannot be checked in a TCP connection';

/** Those of `intentions` that are about the request, the most exact first. */
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
