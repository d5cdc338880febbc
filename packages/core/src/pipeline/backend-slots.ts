import { ProxyError } from '../errors.ts';
import type { Backend, Route } from '../routes/route.ts';
import { addressKey, Loads } from './loads.ts';
import type { Load } from './loads.ts';
import { releasing } from './connection.ts';
import type { Upstream } from './connection.ts';
import type { ConnectContext } from './stages.ts';

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
  /** Connections by backend and route. */
  const used = new Loads();
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
  readonly #used: Loads;
  readonly #load: Load;
  readonly #limit: number;
  #wasFull = false;

  constructor(route: Route, used: Loads, limit: number) {
    this.#route = route;
    this.#used = used;
    this.#load = used.open();
    this.#limit = limit;
  }

  /** Frees the former backend's slot and takes one of `backend`. @returns `false` if that backend is full */
  moveTo(backend: Backend): boolean {
    this.release();
    const key = `${addressKey(backend)} ${this.#route.name}`;
    const isFull = this.#used.of(key) >= this.#limit;
    if (isFull) this.#wasFull = true;
    else this.#load.moveTo(key);
    return !isFull;
  }

  /** Frees the slot. Idempotent. */
  release(): void {
    this.#load.release();
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
