import type { Dispatcher } from 'undici';

/**
 * What answers say of a leader. Not each `X-Consul-KnownLeader: false` means something: from its cache, and from what is streamed to it (1.10 and
 * newer), an agent answers so although there is one. So only endpoints count that have said `true` before, and answers that come from a
 * server.
 */
export class KnownLeaders {
  readonly #reportedTrue = new Set<string>();

  /** @param path of the question, below `/v1/` */
  isLost(path: string, headers: Dispatcher.ResponseData['headers']): boolean {
    if (headers['x-cache'] !== undefined || headers['x-consul-query-backend'] === 'streaming') return false;
    const endpoint = path.split('/', 2).join('/');
    const hasLeader = headers['x-consul-knownleader'] === 'true';
    const isSilent = Number(headers['x-consul-lastcontact'] ?? 0) > MAX_CONTACT_MS;
    if (hasLeader && !isSilent) this.#reportedTrue.add(endpoint);
    return this.#reportedTrue.has(endpoint) && (isSilent || headers['x-consul-knownleader'] === 'false');
  }
}

// A follower hears of its leader several times a second, and elects another one after some seconds of silence.
const MAX_CONTACT_MS = 10_000;
