import { ProxyError } from '../errors.ts';
import type { Backend, Route } from '../routes/route.ts';
import { releasing } from './connection.ts';
import type { Upstream } from './connection.ts';
import type { ConnectContext } from './stages.ts';
import { formatEndpoint } from '../transport/endpoint.ts';

/**
 * Wraps `connect` so that connections of routes with `limits.perBackend` get a slot to count them by. Backends with the
 * same address share the count, across snapshots.
 *
 * @param share this process's share of each limit, greater than 0, up to 1
 * @param connect moves the slot to each backend before it dials it
 */
export function withSlots(
  share: number,
  connect: (route: Route, context: ConnectContext, withinMs?: number, slot?: BackendSlot) => Promise<Upstream>,
): { connect(route: Route, context: ConnectContext, withinMs?: number): Promise<Upstream> } {
  /** Used slots by route and backend. */
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

/** The slot of one connection, at the backend that is being dialled or was connected. */
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

  /** Frees the former backend's slot and takes one of `address`. @returns `false` if that backend is full */
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

  /** Frees the slot. Idempotent. */
  release(): void {
    if (this.#at === undefined) return;
    const used = (this.#used.get(this.#at) ?? 0) - 1;
    if (used > 0) this.#used.set(this.#at, used);
    else this.#used.delete(this.#at);
    this.#at = undefined;
  }

  /** Turns the error of a failed connect into `LIMIT_REACHED` if backends were full, unless the client is at fault. */
  explained(reason: unknown): unknown {
    if (!this.#wasFull || !(reason instanceof ProxyError)) return reason;
    if (reason.code !== 'NO_BACKEND' && reason.side !== 'upstream') return reason;
    const { name, limits } = this.#route;
    const others = reason.code === 'NO_BACKEND' ? '' : `; of the others: ${reason.message}`;
    const full = `route ${name}: limits.perBackend: no backend has less than ${limits?.perBackend} connections`;
    return new ProxyError('LIMIT_REACHED', full + others, { cause: reason });
  }
}
