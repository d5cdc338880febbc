import { X509Certificate } from 'node:crypto';
import type { ClusterPeer, Credentials } from '@meshgate/mesh';
import { parsed } from './agent.ts';
import type { Agent } from './agent.ts';
import { blockingQuery } from './blocking-query.ts';
import { object, objects, text } from './json.ts';

/** The certificate authorities of the mesh. */
export type Roots = Pick<Credentials, 'roots' | 'trustDomain'>;

/**
 * Follows the authorities of this cluster and its trust domain.
 *
 * @param options `mayBeNone`: the trust domain alone will do, for whoever proves and verifies nothing
 */
export async function* meshRoots(
  agent: Agent,
  { mayBeNone }: { readonly mayBeNone: boolean },
  signal: AbortSignal,
): AsyncGenerator<Roots> {
  const path = 'agent/connect/ca/roots';
  for await (const response of blockingQuery(agent, { path }, signal))
    yield parsed(response, path, 'roots with a trust domain', (json) => {
      const found = rootsOf(json);
      return found.trustDomain === '' || (found.roots.length === 0 && !mayBeNone) ? undefined : found;
    });
}

function rootsOf(json: unknown): Roots {
  const roots = objects(object(json)?.['Roots']).map((root) => text(root['RootCert']));
  return { roots, trustDomain: text(object(json)?.['TrustDomain']) };
}

/** Whose roots: `mesh`, or `peer beta`. */
export type RootOwner = 'mesh' | `peer ${string}`;

/** Told when the last root of somebody expires: at first, and whenever that has changed; `undefined` when there is none any more. */
export type OnRoots = (owner: RootOwner, validUntil: Date | undefined) => void;

/** Until when this cluster and its peers have roots. Certificates are read only when they have changed. */
export class RootExpiries {
  readonly #onRoots: OnRoots;
  #known: ReadonlyMap<RootOwner, string> = new Map();

  constructor(onRoots: OnRoots) {
    this.#onRoots = onRoots;
  }

  /** @param roots of this cluster, in PEM */
  update(roots: readonly string[], peers: readonly ClusterPeer[]): void {
    const next = new Map<RootOwner, string>([['mesh', roots.join('\n')]]);
    for (const peer of peers) if (!peer.isDeleted) next.set(`peer ${peer.name}`, peer.roots.join('\n'));
    for (const owner of this.#known.keys()) if (!next.has(owner)) this.#onRoots(owner, undefined);
    for (const [owner, pem] of next) if (pem !== this.#known.get(owner)) this.#onRoots(owner, lastExpiry(pem));
    this.#known = next;
  }
}

/** When the last certificate in `pem` expires; `undefined` when there is none. One that cannot be read counts for nothing. */
export function lastExpiry(pem: string): Date | undefined {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const ends = blocks.map(expiryOf).filter((end) => !Number.isNaN(end));
  return ends.length === 0 ? undefined : new Date(Math.max(...ends));
}

function expiryOf(block: string): number {
  try {
    return Date.parse(new X509Certificate(block).validTo);
  } catch {
    return Number.NaN;
  }
}
