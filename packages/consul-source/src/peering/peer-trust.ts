import { pause } from '@meshgate/core';
import { Cell, defined } from '@meshgate/core/parts';
import type { ClusterPeer, PeerTrust } from '@meshgate/mesh';
import { authoritiesAt, readableIn } from '../tls-files.ts';
import type { PeersResponse } from './peering-queries.ts';

/** Files with root certificates of peers, by the peer's local name; each is a PEM file or a folder of PEM files. */
export type TrustBundles = Readonly<Record<string, string>>;

/** The state of peers, which one part of a sidecar updates and another one turns into warnings. */
export class PeerStatus {
  readonly #bundles: TrustBundles;
  readonly #changes = new Cell<void>();
  #response: PeersResponse | undefined;
  #bundleProblem: Error | undefined;
  /** Why exports cannot be read, by peer. */
  readonly #hiddenExports = new Map<string, string>();

  constructor(bundles: TrustBundles = {}) {
    this.#bundles = bundles;
  }

  update(response: PeersResponse): void {
    this.#response = response;
    this.#changes.set();
  }

  /**
   * Records a problem of the bundles.
   *
   * @param problem why a bundle cannot be read, so that the last readable one remains in use; `undefined` when there is
   * no problem
   */
  bundleProblem(problem: Error | undefined): void {
    if (problem?.message === this.#bundleProblem?.message) return;
    this.#bundleProblem = problem;
    this.#changes.set();
  }

  /** Records whether the exports to a peer can be read: `why` they cannot, `undefined` when they can. */
  exportsHidden(peer: string, why: string | undefined): void {
    if (this.#hiddenExports.get(peer) === why) return;
    if (why === undefined) this.#hiddenExports.delete(peer);
    else this.#hiddenExports.set(peer, why);
    this.#changes.set();
  }

  /** Calls `changed` after each change, until `signal` aborts. */
  async watch(changed: () => void, signal: AbortSignal): Promise<void> {
    const changes = this.#changes.watch(signal);
    while ((await changes.next()).done !== true) changed();
  }

  /** Returns a sentence for each problem of bundles and exports, and for each of `peers` that is not trusted. */
  warnings(peers: Iterable<string>): readonly string[] {
    const [response, problem] = [this.#response, this.#bundleProblem];
    return [
      ...(problem === undefined ? [] : [problem.message]),
      ...(response === undefined ? [] : this.#untrusted(response, peers)),
      ...Array.from(
        this.#hiddenExports,
        ([peer, why]) => `exports to peer ${peer} cannot be read, intentions alone decide about its callers: ${why}`,
      ),
    ];
  }

  #untrusted(response: PeersResponse, peers: Iterable<string>): readonly string[] {
    const without = [...new Set(peers)].filter((peer) => !Object.hasOwn(this.#bundles, peer));
    return without.flatMap((peer) => {
      const known = response.peers.find(({ name }) => name === peer);
      const hasRoots = known !== undefined && known.roots.length > 0;
      if (!response.isRefused && (known === undefined || hasRoots)) return [];
      const why = response.isRefused
        ? 'the token needs peering = "read" (or operator = "read")'
        : `the agent shows none for its ${known?.state ?? ''} peering (Consul before 1.14 never does)`;
      const effect = hasRoots ? 'those read last stay trusted' : 'its services are not trusted';
      return `roots of peer ${peer} cannot be read, ${effect}: ${why}; or set trustBundles: { ${peer}: FILE }`;
    });
  }
}

/** Returns the trusted peers. A configured bundle takes precedence over the agent's roots of the same peer. */
export function peerTrust(peers: readonly ClusterPeer[], bundles: readonly PeerTrust[]): readonly PeerTrust[] {
  const configured = new Set(bundles.map(({ peer }) => peer));
  const reported = peers.filter(
    ({ name, isDeleted, roots }) => !isDeleted && roots.length > 0 && !configured.has(name),
  );
  const known = new Map(peers.map((peer) => [peer.name, peer]));
  const all = [...bundles, ...reported.map(({ name, roots }) => ({ peer: name, roots }))];
  return all.map((trust) => ({ ...trust, ...domainsOf(known.get(trust.peer)) }));
}

/**
 * Takes the trust domain from the SNI of the peer's servers, `server.dc1.peering.TRUST-DOMAIN`, which only the dialling
 * cluster has.
 */
function domainsOf(peer: ClusterPeer | undefined): Pick<PeerTrust, 'trustDomain' | 'datacenter'> {
  const [, trustDomain] = /\.peering\.(.+)$/.exec(peer?.serverName ?? '') ?? [];
  return defined({ trustDomain, datacenter: peer?.datacenter });
}

/** Follows the files. @throws Error when one cannot be read, or contains no certificate */
export async function* bundlesIn(files: TrustBundles, signal: AbortSignal): AsyncGenerator<readonly PeerTrust[]> {
  let last: string | undefined;
  while (!signal.aborted) {
    const bundles = readBundles(files);
    const text = JSON.stringify(bundles);
    if (text !== last) yield bundles;
    last = text;
    await pause(REREAD_MS, signal);
  }
}

// Cheap for a few small files, and soon enough for a replaced one.
const REREAD_MS = 1_000;

/** Reads the files. @throws Error naming the peer and the file that cannot be read */
function readBundles(files: TrustBundles): readonly PeerTrust[] {
  return Object.entries(files).map(([peer, path]) => {
    const roots = authoritiesAt(path).map(({ text }) => text);
    if (roots.some((text) => text.includes('-----BEGIN CERTIFICATE'))) return { peer, roots };
    throw new Error(`trust bundle of peer ${peer}: expected certificates in PEM in ${path}, found none`);
  });
}

/**
 * Verifies that every certificate in the bundles is readable. A running proxy reports such problems per peer.
 *
 * @throws Error naming the peer or the file that cannot be used
 */
export function checkBundles(files: TrustBundles): void {
  readBundles(files);
  for (const path of Object.values(files)) for (const { file, text } of authoritiesAt(path)) readableIn(text, file);
}
