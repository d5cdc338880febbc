import type { Dispatcher } from 'undici';

/**
 * Detects that the responding server has lost its leader. `X-Consul-KnownLeader: false` alone proves nothing: an agent
 * also sends it with responses from its cache and from its streaming backend (1.10 and newer). So the header counts
 * only in responses from a server, and only for endpoints that have sent `true` before.
 */
export class KnownLeaders {
  readonly #reportedTrue = new Set<string>();

  /**
   * Whether the server that sent these headers has lost its leader.
   *
   * @param path of the request, below `/v1/`
   */
  isLost(path: string, headers: Dispatcher.ResponseData['headers']): boolean {
    if (headers['x-cache'] !== undefined || headers['x-consul-query-backend'] === 'streaming') return false;
    const endpoint = path.split('/', 2).join('/');
    const hasLeader = headers['x-consul-knownleader'] === 'true';
    const isSilent = Number(headers['x-consul-lastcontact'] ?? 0) > MAX_CONTACT_MS;
    if (hasLeader && !isSilent) this.#reportedTrue.add(endpoint);
    return this.#reportedTrue.has(endpoint) && (isSilent || headers['x-consul-knownleader'] === 'false');
  }
}

// A follower hears from its leader several times a second, and starts an election after a few seconds without contact.
const MAX_CONTACT_MS = 10_000;
