import type { Dispatcher } from 'undici';

/**
 * Detects that the responding server has lost its leader. `X-Consul-KnownLeader: false` alone proves nothing: an agent
 * also sends it with responses from its cache and from its streaming backend (1.10 and newer). So the header counts
 * only in responses from a server, and only for endpoints that have sent `true` before.
 */
export class KnownLeaders {
  readonly #reportedTrue = new Set<string>();
  readonly #onChange: () => void;
  #isLost = false;

  /** @param onChange called when the leader is lost, and when it is back */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** Whether the last relevant response came from a server without a leader. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /**
   * Whether the server that responded has lost its leader.
   *
   * @param path path of the request, below `/v1/`
   */
  note(path: string, headers: Dispatcher.ResponseData['headers']): boolean {
    if (headers['x-cache'] !== undefined || headers['x-consul-query-backend'] === 'streaming') return false;
    const endpoint = path.split('/', 2).join('/');
    const leader = headers['x-consul-knownleader'];
    const isSilent = Number(headers['x-consul-lastcontact'] ?? 0) > MAX_CONTACT_MS;
    if (leader === 'true' && !isSilent) this.#reportedTrue.add(endpoint);
    if (leader === undefined || !this.#reportedTrue.has(endpoint)) return false;
    const before = this.#isLost;
    this.#isLost = isSilent || leader === 'false';
    if (this.#isLost !== before) this.#onChange();
    return this.#isLost;
  }
}

// A follower hears from its leader several times a second, and starts an election after a few seconds without contact.
const MAX_CONTACT_MS = 10_000;
