import { pause } from '@meshgate/core';
import { Cell } from '@meshgate/core/parts';
import type { ClusterPeer, PeerTrust } from '@meshgate/mesh';
import { authoritiesAt, readableIn } from '../tls-files.ts';
import type { PeersResponse } from './peering-queries.ts';

/** Files with the roots of peers, by the local name of each; each is a PEM file, or a folder of PEM files. */
export type TrustBundles = Readonly<Record<string, string>>;

/** The state of peers that one part of a sidecar determines, and another one warns about. */
export class PeerStatus {
  readonly #bundles: TrustBundles;
  readonly #changes = new Cell<void>();
  #response: PeersResponse | undefined;
  #bundleProblem: Error | undefined;

  constructor(bundles: TrustBundles = {}) {
    this.#bundles = bundles;
  }

  update(response: PeersResponse): void {
    this.#response = response;
    this.#changes.set();
  }

  /** @param problem why a bundle cannot be read: the last readable one stays in use; `undefined` when nothing is wrong */
  bundleProblem(problem: Error | undefined): void {
    if (problem?.message === this.#bundleProblem?.message) return;
    this.#bundleProblem = problem;
    this.#changes.set();
  }

  /** The agent denied access to the list of peers. */
  get isRefused(): boolean {
    return this.#response?.warning !== undefined;
  }

  /** Calls `changed` after each change, until `signal` aborts. */
  async watch(changed: () => void, signal: AbortSignal): Promise<void> {
    const changes = this.#changes.watch(signal);
    while ((await changes.next()).done !== true) changed();
  }

  /** @returns why each of `peers` is not trusted, one sentence each */
  warnings(peers: Iterable<string>): readonly string[] {
    const [response, problem] = [this.#response, this.#bundleProblem];
    const ofBundles = problem === undefined ? [] : [problem.message];
    return response === undefined ? ofBundles : [...ofBundles, ...this.#untrusted(response, peers)];
  }

  #untrusted(response: PeersResponse, peers: Iterable<string>): readonly string[] {
    const without = [...new Set(peers)].filter((peer) => !Object.hasOwn(this.#bundles, peer));
    return without.flatMap((peer) => {
      const known = response.peers.find(({ name }) => name === peer);
      if (response.warning === undefined && (known === undefined || known.roots.length > 0)) return [];
      const why =
        response.warning === undefined
          ? `the agent shows none for its ${known?.state ?? ''} peering (Consul before 1.14 never does)`
          : 'the token needs peering = "read" (or operator = "read")';
      return `roots of peer ${peer} cannot be read, its services are not trusted: ${why}; or set trustBundles: { ${peer}: FILE }`;
    });
  }
}

/** The trusted peers: a configured bundle takes precedence over what the agent reports for the same peer. */
export function peerTrust(peers: readonly ClusterPeer[], bundles: readonly PeerTrust[]): readonly PeerTrust[] {
  const configured = new Set(bundles.map(({ peer }) => peer));
  const reported = peers.filter(
    ({ name, isDeleted, roots }) => !isDeleted && roots.length > 0 && !configured.has(name),
  );
  const known = new Map(peers.map((peer) => [peer.name, peer]));
  const all = [...bundles, ...reported.map(({ name, roots }) => ({ peer: name, roots }))];
  return all.map((trust) => ({ ...trust, ...trustDomainOf(known.get(trust.peer)) }));
}

/** From the server name that this cluster dials, `server.dc1.peering.TRUST-DOMAIN`: the accepting side is not told one. */
function trustDomainOf(peer: ClusterPeer | undefined): Pick<PeerTrust, 'trustDomain'> {
  const [, trustDomain] = /\.peering\.(.+)$/.exec(peer?.serverName ?? '') ?? [];
  return trustDomain === undefined ? {} : { trustDomain };
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

// A few small files; a replaced one is noticed soon.
const REREAD_MS = 1_000;

/** @throws Error that names the peer and the file that cannot be read */
function readBundles(files: TrustBundles): readonly PeerTrust[] {
  return Object.entries(files).map(([peer, path]) => {
    const roots = authoritiesAt(path).map(({ text }) => text);
    if (roots.some((text) => text.includes('-----BEGIN CERTIFICATE'))) return { peer, roots };
    throw new Error(`trust bundle of peer ${peer}: expected certificates in PEM in ${path}, found none`);
  });
}

/**
 * Looks whether the bundles can be used. While a proxy runs it says of each peer by itself what is wrong with its own.
 *
 * @throws Error that names the peer or the file that cannot be used
 */
export function checkBundles(files: TrustBundles): void {
  readBundles(files);
  for (const path of Object.values(files)) for (const { file, text } of authoritiesAt(path)) readableIn(text, file);
}
