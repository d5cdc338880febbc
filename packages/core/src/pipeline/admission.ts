import { ProxyError } from '../errors.ts';
import type { Limits } from './limits.ts';

/**
 * Counts who is in. Connections that still owe their hello have a smaller pool of their own, so that slow clients cannot keep
 * others out, and established connections are never touched.
 */
export class Admission {
  readonly #limits: Pick<Limits, 'connections' | 'pendingHellos'>;
  #connections = 0;
  #pendingHellos = 0;

  constructor(limits: Pick<Limits, 'connections' | 'pendingHellos'>) {
    this.#limits = limits;
  }

  /** Takes a place in both pools, or says why there is none. Whoever was admitted owes `helloComplete` or `released`. */
  admit(): ProxyError | undefined {
    const { connections, pendingHellos } = this.#limits;
    if (this.#connections >= connections) return full(`all ${connections} connections are in use`);
    if (this.#pendingHellos >= pendingHellos) return full(`${pendingHellos} connections still owe their hello`);
    this.#connections += 1;
    this.#pendingHellos += 1;
    return undefined;
  }

  /** The hello is whole: its place among the pending is free again. */
  helloComplete(): void {
    this.#pendingHellos -= 1;
  }

  /** The connection is closed; `greeted` says whether it had got that far. */
  released(greeted: boolean): void {
    this.#connections -= 1;
    if (!greeted) this.#pendingHellos -= 1;
  }
}

function full(message: string): ProxyError {
  return new ProxyError('LIMIT_REACHED', message);
}
