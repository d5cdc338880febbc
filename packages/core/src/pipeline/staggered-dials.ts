import { isIPv6 } from 'node:net';
import { ProxyError } from '../errors.ts';
import type { Backend } from '../routes/route.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Connection, Dial } from '../transport/transport.ts';
import type { Dials } from './dials.ts';

/** A connection to a backend, with its address. */
export interface Reached {
  readonly connection: Connection;
  /** The address that answered. */
  readonly address: Endpoint;
}

/** Delay before the next address is dialled as well (RFC 8305, section 5: Connection Attempt Delay). */
const STAGGER_MS = 250;

// RFC 8305, section 4, recommends to remember the family that worked; networks that lose one family do so for longer
// than this.
const REMEMBERED_MS = 600_000;

/** Remembers, for ten minutes, which address family of a backend did not answer: the other family is dialled first. */
export class SlowFamilies {
  readonly #byBackend = new WeakMap<Backend, { readonly isIPv6: boolean; readonly until: number }>();

  /** Records that another family answered before that of `address`. @returns whether this is new */
  overtaken(backend: Backend, address: Endpoint): boolean {
    const before = this.#byBackend.get(backend);
    const isNew = before === undefined || performance.now() >= before.until || before.isIPv6 !== isIPv6(address.host);
    this.#byBackend.set(backend, { isIPv6: isIPv6(address.host), until: performance.now() + REMEMBERED_MS });
    return isNew;
  }

  /** Returns `addresses` in dial order: families alternate, the first one is not slow (RFC 8305, section 4). */
  ordered(backend: Backend, addresses: readonly Endpoint[]): readonly Endpoint[] {
    const [first] = addresses;
    if (first === undefined || addresses.length < 2) return addresses;
    const slow = this.#byBackend.get(backend);
    const isSlow = slow !== undefined && performance.now() < slow.until;
    const beginsWithIPv6 = isSlow ? !slow.isIPv6 : isIPv6(first.host);
    const ones = addresses.filter(({ host }) => isIPv6(host) === beginsWithIPv6);
    const others = addresses.filter(({ host }) => isIPv6(host) !== beginsWithIPv6);
    return Array.from({ length: Math.max(ones.length, others.length) }, (_, index) => [
      ...ones.slice(index, index + 1),
      ...others.slice(index, index + 1),
    ]).flat();
  }
}

/** Options of {@link StaggeredDials}. */
export interface StaggeredOptions {
  readonly backend: Backend;
  /** In dial order; at least one. */
  readonly addresses: readonly Endpoint[];
  /** Deadline of the last dial, in milliseconds of the monotonic clock. */
  readonly endsAt: number;
  readonly dials: Dials;
  readonly slowFamilies: SlowFamilies;
}

interface PendingDial {
  readonly address: Endpoint;
  readonly dial: Dial;
  readonly beganAt: number;
}

/**
 * Dials the addresses of one backend in order, each as soon as the one before has failed or has not answered for 250
 * ms. The first answer wins, and the other dials are cut (RFC 8305, section 5).
 */
export class StaggeredDials {
  /**
   * Resolves with the first connection, or with `undefined` if all dials failed. Rejects if the session no longer needs
   * a backend.
   */
  readonly done: Promise<Reached | undefined>;
  readonly #options: StaggeredOptions;
  readonly #pending = new Set<PendingDial>();
  #next = 0;
  #timer: NodeJS.Timeout | undefined;
  #resolve: (reached: Reached | undefined) => void = () => undefined;
  #reject: (reason: unknown) => void = () => undefined;

  constructor(options: StaggeredOptions) {
    this.#options = options;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#beginNext();
  }

  get #hasNext(): boolean {
    const { addresses, dials, endsAt } = this.#options;
    return this.#next < addresses.length && dials.remaining > 0 && performance.now() < endsAt;
  }

  #beginNext(): void {
    clearTimeout(this.#timer);
    const { backend, addresses, dials, endsAt } = this.#options;
    try {
      while (this.#hasNext) {
        const address = addresses[this.#next];
        this.#next += 1;
        const beganAt = performance.now();
        const dial = address && dials.begin(backend, address, endsAt - beganAt);
        if (address === undefined || dial === undefined) continue;
        this.#await({ address, dial, beganAt });
        if (this.#hasNext) this.#timer = setTimeout(() => this.#beginNext(), STAGGER_MS);
        return;
      }
    } catch (reason) {
      this.#reject(reason);
    }
    if (this.#pending.size === 0) this.#resolve(undefined);
  }

  #await(one: PendingDial): void {
    this.#pending.add(one);
    one.dial.done.then(
      (connection) => this.#answered(one, connection),
      (reason: unknown) => this.#failed(one, reason),
    );
  }

  #answered(one: PendingDial, connection: Connection): void {
    clearTimeout(this.#timer);
    if (!this.#pending.delete(one)) {
      connection.destroy();
      return;
    }
    for (const other of this.#pending) {
      other.dial.cut(new ProxyError('CONNECT_FAILED', 'another address of the backend connected first'));
      this.#overtaken(other, one);
    }
    this.#pending.clear();
    this.#resolve({ connection, address: one.address });
  }

  #overtaken(slow: PendingDial, fast: PendingDial): void {
    const { backend, slowFamilies, dials } = this.#options;
    if (slow.beganAt > fast.beganAt) return;
    if (isIPv6(slow.address.host) !== isIPv6(fast.address.host)) {
      if (slowFamilies.overtaken(backend, slow.address)) dials.familySilent(slow.address, fast.address, REMEMBERED_MS);
    } else if (performance.now() - fast.beganAt < STAGGER_MS) dials.overtaken(slow.address);
  }

  #failed(one: PendingDial, reason: unknown): void {
    // This dial was cut because another one has answered.
    if (!this.#pending.delete(one)) return;
    const { backend, dials, slowFamilies, addresses } = this.#options;
    try {
      dials.failed(one.address, reason, one.beganAt);
      const hasOtherFamily = addresses.some(({ host }) => isIPv6(host) !== isIPv6(one.address.host));
      if (hasOtherFamily && one.address === addresses[0]) slowFamilies.overtaken(backend, one.address);
      this.#beginNext();
    } catch (gone) {
      clearTimeout(this.#timer);
      this.#reject(gone);
    }
  }
}
