import type { Endpoint, Service } from '@meshgate/core';
import { inOrder, stopInReverse } from '@meshgate/core/parts';
import type { PreparedChange } from '@meshgate/core/parts';
import type { AdminSettings } from '../config/config-schema.ts';
import type { InheritedSocket } from '../run/inherited-sockets.ts';
import type { AdminServer } from './server.ts';

/** The admin API at all its addresses, which a reload can change. */
export class AdminServers implements Service {
  readonly name = 'admin';
  readonly #serverAt: (settings: AdminSettings) => AdminServer;
  #current: readonly AdminServer[];

  /** @param serverAt creates the server of an address, without starting it */
  constructor(settings: readonly AdminSettings[], serverAt: (settings: AdminSettings) => AdminServer) {
    this.#serverAt = serverAt;
    this.#current = settings.map(serverAt);
  }

  /** URL of the first address; absent while there is none. */
  get url(): string | undefined {
    return this.#current[0]?.url;
  }

  /** Whether a dial to `to` would reach the admin API. */
  isAt(to: Endpoint): boolean {
    return this.#current.some((server) => server.isAt(to));
  }

  /** The sockets of all servers, for a successor. */
  get held(): readonly InheritedSocket[] {
    return this.#current.flatMap(({ held }) => held);
  }

  start(signal: AbortSignal): Promise<void> {
    return inOrder(this.name, this.#current).start(signal);
  }

  stop(signal: AbortSignal): Promise<void> {
    return stopInReverse(this.name, this.#current, signal);
  }

  /** Stops all servers, and leaves their sockets to a successor. */
  async release(): Promise<void> {
    await Promise.all(this.#current.map((server) => server.release(new AbortController().signal)));
  }

  /**
   * Listens on new addresses. The commit applies other tokens at once, and closes removed addresses after the responses
   * in progress, which may include the response to the reload request.
   *
   * @throws the system's error when an address cannot be bound; nothing changes then
   */
  async prepare(wanted: readonly AdminSettings[]): Promise<PreparedChange> {
    const kept = new Map<AdminSettings, AdminServer>();
    for (const settings of wanted) {
      const server = this.#current.find((one) => one.serves(settings.endpoint) && ![...kept.values()].includes(one));
      if (server !== undefined) kept.set(settings, server);
    }
    const added = new Map(wanted.filter((one) => !kept.has(one)).map((one) => [one, this.#serverAt(one)] as const));
    await inOrder(this.name, [...added.values()]).start(new AbortController().signal);
    return {
      commit: async () => {
        const gone = this.#current.filter((server) => ![...kept.values()].includes(server));
        for (const [settings, server] of kept) server.use(settings);
        this.#current = wanted.flatMap((one) => kept.get(one) ?? added.get(one) ?? []);
        void stopInReverse(this.name, gone, AbortSignal.timeout(STOP_PATIENCE_MS)).catch(() => undefined);
      },
      discard: () => stopInReverse(this.name, [...added.values()], AbortSignal.timeout(STOP_PATIENCE_MS)),
    };
  }
}

/** Longer than a server waits for its responses. */
const STOP_PATIENCE_MS = 5_000;
