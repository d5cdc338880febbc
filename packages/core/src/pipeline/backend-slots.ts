import { ProxyError } from '../errors.ts';
import type { Backend, Route } from '../routes/route.ts';
import { releasing } from './connection.ts';
import type { Upstream } from './connection.ts';
import type { ConnectContext } from './stages.ts';
import { formatEndpoint } from '../transport/endpoint.ts';

/**
 * `connect`, which is handed a place of its own for each connection of a route that limits connections to one backend. Backends of equal
 * address are one, over snapshots.
 *
 * @param share the part of each limit that this process may use, above 0 and up to 1
 * @param connect moves the place to each backend that it is about to dial
 */
export function withSlots(
  share: number,
  connect: (route: Route, context: ConnectContext, withinMs?: number, slot?: BackendSlot) => Promise<Upstream>,
): { connect(route: Route, context: ConnectContext, withinMs?: number): Promise<Upstream> } {
  /** By route and backend. */
  const used = new Map<string, number>();
  return {
    connect: (route, context, withinMs) =>
      route.limits?.perBackend === undefined ? connect(route, context, withinMs) : within(route, context, withinMs),
  };

  async function within(route: Route, context: ConnectContext, withinMs: number | undefined): Promise<Upstream> {
    const { perBackend = Infinity } = route.limits ?? {};
    const slot = new BackendSlot(route, used, Math.max(1, Math.floor(perBackend * share)));
    try {
      return releasing(await connect(route, context, withinMs, slot), () => slot.release());
    } catch (reason) {
      slot.release();
      throw slot.explained(reason);
    }
  }
}

/** The one place that a connection has: at the backend which is being dialled, or was reached. */
export class BackendSlot {
  readonly #route: Route;
  readonly #used: Map<string, number>;
  readonly #limit: number;
  #at: string | undefined;
  #wasFull = false;

  constructor(route: Route, used: Map<string, number>, limit: number) {
    this.#route = route;
    this.#used = used;
    this.#limit = limit;
  }

  /** Leaves the last backend, and takes a place at this one. @returns `false` when it has no more */
  moveTo({ address }: Backend): boolean {
    this.release();
    const key = `${formatEndpoint(address)} ${this.#route.name}`;
    const used = this.#used.get(key) ?? 0;
    if (used >= this.#limit) {
      this.#wasFull = true;
      return false;
    }
    this.#used.set(key, used + 1);
    this.#at = key;
    return true;
  }

  /** Gives it back. Idempotent. */
  release(): void {
    if (this.#at === undefined) return;
    const used = (this.#used.get(this.#at) ?? 0) - 1;
    if (used > 0) this.#used.set(this.#at, used);
    else this.#used.delete(this.#at);
    this.#at = undefined;
  }

  /** Why no backend was reached, when some of them were full: the limit, unless it is the client who has left. */
  explained(reason: unknown): unknown {
    if (!this.#wasFull || !(reason instanceof ProxyError)) return reason;
    if (reason.code !== 'NO_BACKEND' && reason.side !== 'upstream') return reason;
    const { name, limits } = this.#route;
    const others = reason.code === 'NO_BACKEND' ? '' : `; of the others: ${reason.message}`;
    const full = `route ${name}: limits.perBackend: no backend has less than ${limits?.perBackend} connections`;
    return new ProxyError('LIMIT_REACHED', full + others, { cause: reason });
  }
}
