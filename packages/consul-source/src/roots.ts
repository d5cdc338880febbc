import type { X509Certificate } from 'node:crypto';
import { certificatesIn } from '@meshgate/mesh';
import type { ClusterPeer, Credentials } from '@meshgate/mesh';
import type { Agent } from './agent.ts';
import { parsedResponses } from './blocking-query.ts';
import { object, objects, text } from './json.ts';

/** The certificate authorities of the mesh. */
export type Roots = Pick<Credentials, 'roots' | 'trustDomain'>;

/**
 * Follows the certificate authorities of this cluster and its trust domain.
 *
 * @param options `mayBeNone`: accepts a response without roots, for a caller that needs the trust domain only
 */
export async function* meshRoots(
  agent: Agent,
  { mayBeNone }: { readonly mayBeNone: boolean },
  signal: AbortSignal,
): AsyncGenerator<Roots> {
  const read = (json: unknown): Roots | undefined => {
    const found = rootsOf(json);
    return found.trustDomain === '' || (found.roots.length === 0 && !mayBeNone) ? undefined : found;
  };
  yield* parsedResponses(
    agent,
    { path: 'agent/connect/ca/roots', expected: 'roots with a trust domain', read },
    signal,
  );
}

function rootsOf(json: unknown): Roots {
  const roots = objects(object(json)?.['Roots']).map((root) => text(root['RootCert']));
  return { roots, trustDomain: text(object(json)?.['TrustDomain']) };
}

/** The owner of roots: `mesh`, or `peer beta`. */
export type RootOwner = 'mesh' | `peer ${string}`;

/**
 * Called with the expiry of an owner's last root: once it is known, and at each change; `undefined` when the owner no
 * longer has a root.
 */
export type OnRoots = (owner: RootOwner, validUntil: Date | undefined) => void;

/** Tracks the expiry of the roots of this cluster and its peers. Parses certificates only when they have changed. */
export class RootExpiries {
  readonly #onRoots: OnRoots;
  #known: ReadonlyMap<RootOwner, string> = new Map();

  constructor(onRoots: OnRoots) {
    this.#onRoots = onRoots;
  }

  /** @param roots root certificates of this cluster, in PEM */
  update(roots: readonly string[], peers: readonly ClusterPeer[]): void {
    const live = peers.filter(({ isDeleted }) => !isDeleted);
    const all = new Map<RootOwner, readonly string[]>([
      ['mesh', roots],
      ...live.map((peer) => [`peer ${peer.name}`, peer.roots] as const),
    ]);
    const next = new Map(Array.from(all, ([owner, pem]) => [owner, pem.join('\n')] as const));
    for (const owner of this.#known.keys()) if (!next.has(owner)) this.#onRoots(owner, undefined);
    for (const [owner, pem] of next)
      if (pem !== this.#known.get(owner)) this.#onRoots(owner, lastExpiry(all.get(owner) ?? []));
    this.#known = next;
  }
}

/** Returns the latest expiry of the certificates in `roots` (PEM); `undefined` when there is none. Ignores unreadable roots. */
export function lastExpiry(roots: readonly string[]): Date | undefined {
  const ends = roots.flatMap(certificatesOf).map(({ validTo }) => Date.parse(validTo));
  return ends.length === 0 ? undefined : new Date(Math.max(...ends));
}

function certificatesOf(pem: string): readonly X509Certificate[] {
  try {
    return certificatesIn(pem);
  } catch {
    return [];
  }
}
