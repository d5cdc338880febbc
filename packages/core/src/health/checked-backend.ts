import { isIP } from 'node:net';
import { errorOf } from '../errors.ts';
import type { AddressBook } from '../names/address-book.ts';
import type { Observer } from '../observe.ts';
import type { HealthCheck } from '../routes/route.ts';
import { formatEndpoint, unixPath } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { AddressState } from './address-state.ts';
import type { CheckState } from './address-state.ts';
import { healthKey } from './backend-health.ts';
import type { HealthMark } from './backend-health.ts';
import type { CheckOutcome } from './check-once.ts';

/** A backend, and how it is checked. */
export interface CheckedOptions {
  /** As the route has it: its host may be a name. */
  readonly backend: Endpoint;
  readonly check: HealthCheck;
  readonly addresses: Pick<AddressBook, 'find'>;
  readonly observer: Observer;
  /** One check of one address, when there is room for it. */
  run(check: HealthCheck, address: Endpoint): Promise<CheckOutcome>;
  /** Told of what connections should know. */
  onMark(mark: HealthMark): void;
}

/** What is known of a backend that is checked. */
export interface CheckReport {
  /** A name is up when one of its addresses is. */
  readonly state: CheckState;
  /** Each address by itself: several, when the backend is a name. */
  readonly addresses: readonly AddressReport[];
}

/** What is known of one address of it. */
export interface AddressReport {
  readonly address: Endpoint;
  readonly state: CheckState;
  /** Since when. */
  readonly since: Date;
  /** When it was last checked; absent before the first check. */
  readonly checkedAt?: Date;
  /** Why the last check failed; absent when it passed. */
  readonly failure?: string;
}

/** A backend that is checked again and again: all of its addresses, when it is a name. */
export class CheckedBackend {
  readonly #options: CheckedOptions;
  readonly #isName: boolean;
  readonly #states = new Map<string, { readonly address: Endpoint; readonly state: AddressState }>();
  /** Of a name that has no address. */
  #unresolved: AddressState | undefined;
  /** What a check that is still under way finds out is of no interest. */
  #isForgotten = false;

  constructor(options: CheckedOptions) {
    const { backend } = options;
    this.#options = options;
    this.#isName = isIP(backend.host) === 0 && unixPath(backend) === undefined;
  }

  get key(): string {
    return healthKey(this.#options.check, this.#options.backend);
  }

  /** As the route has it. */
  get backend(): Endpoint {
    return this.#options.backend;
  }

  get check(): HealthCheck {
    return this.#options.check;
  }

  get report(): CheckReport {
    const addresses = Array.from(this.#states.values(), ({ address, state }) => reportOf(address, state));
    if (this.#unresolved !== undefined) addresses.push(reportOf(this.#options.backend, this.#unresolved));
    return { state: this.#state(), addresses };
  }

  /** Goes on with what `other` has found out, of the same backend, by a check that asks it the same. */
  inherit(other: CheckedBackend): void {
    for (const [key, known] of other.#states) {
      this.#states.set(key, known);
      this.#markInherited(known.address, known.state);
    }
    this.#unresolved = other.#unresolved;
    // A name is down since its last address is.
    const [last = this.#unresolved] = Array.from(this.#states.values(), ({ state }) => state).toSorted(
      (one, another) => another.sinceMs - one.sinceMs,
    );
    if (this.#isName && last !== undefined && this.#state() === 'down')
      this.#markInherited(this.#options.backend, last);
  }

  /** Checks every address once. Never rejects. */
  async runOnce(): Promise<void> {
    const before = this.#state();
    const found = await this.#find();
    if (found !== undefined) await Promise.all(found.map((address) => this.#checkAddress(address)));
    if (this.#isForgotten) return;
    const after = this.#state();
    if (this.#isName && after !== before) this.#mark(this.#options.backend, after, before);
  }

  /** No route has it any more. */
  forget(): void {
    this.#isForgotten = true;
    this.#keep([]);
    if (this.#isName) this.#unmark(this.#options.backend);
  }

  #state(): CheckState {
    if (this.#unresolved !== undefined) return this.#unresolved.state;
    const states = Array.from(this.#states.values(), ({ state }) => state.state);
    if (states.includes('up')) return 'up';
    return states.includes('unknown') || states.length === 0 ? 'unknown' : 'down';
  }

  /** The addresses to check; `undefined` when the name has none, which is a failure of its own, and when nothing is to be checked any more. */
  async #find(): Promise<readonly Endpoint[] | undefined> {
    const { backend, addresses } = this.#options;
    try {
      const found = await addresses.find(backend);
      if (this.#isForgotten) return undefined;
      this.#unresolved = undefined;
      this.#keep(found);
      return found;
    } catch (thrown) {
      if (this.#isForgotten) return undefined;
      this.#keep([]);
      this.#unresolved ??= new AddressState();
      this.#took(backend, this.#unresolved, { kind: 'failed', reason: errorOf(thrown).message });
      return undefined;
    }
  }

  /** Addresses that the name does not have any more are forgotten. */
  #keep(found: readonly Endpoint[]): void {
    const { backend, check, observer } = this.#options;
    const keys = new Set(found.map(formatEndpoint));
    for (const [key, { address }] of this.#states) {
      if (keys.has(key)) continue;
      this.#states.delete(key);
      this.#unmark(address);
      observer.observe({ type: 'backend.unchecked', backend, address, check });
    }
    for (const address of found) {
      const key = formatEndpoint(address);
      if (!this.#states.has(key)) this.#states.set(key, { address, state: new AddressState() });
    }
  }

  async #checkAddress(address: Endpoint): Promise<void> {
    const { check, observer, run } = this.#options;
    const key = formatEndpoint(address);
    const known = this.#states.get(key);
    const beganAt = performance.now();
    const outcome = await run(check, address);
    // A shortage of our own says nothing of the backend, and nobody asks for an address that is gone.
    if (known === undefined || this.#states.get(key) !== known || outcome.kind === 'shortage') return;
    observer.observe({
      type: 'backend.checked',
      address,
      check,
      passed: outcome.kind === 'passed',
      tookMs: performance.now() - beganAt,
    });
    this.#took(address, known.state, outcome);
  }

  #took(address: Endpoint, state: AddressState, outcome: Exclude<CheckOutcome, { kind: 'shortage' }>): void {
    const { backend, check, observer } = this.#options;
    const { sinceMs } = state;
    const before = state.took(outcome, check);
    if (before === undefined) return;
    if (address !== backend || !this.#isName) this.#mark(address, state.state, before);
    if (outcome.kind === 'failed')
      observer.observe({ type: 'backend.down', backend, address, check, reason: outcome.reason });
    else if (before === 'down')
      observer.observe({ type: 'backend.up', backend, address, check, downMs: state.sinceMs - sinceMs });
  }

  /** What was never down needs no slow start, and no mark. */
  #mark(address: Endpoint, state: CheckState, before: CheckState): void {
    const { check, onMark } = this.#options;
    const key = healthKey(check, address);
    if (state === 'down') onMark({ key, state, forMs: 0 });
    else if (before === 'down') onMark({ key, state: 'up', forMs: 0 });
  }

  /** For as long as it has been so: what it means for connections, these know already. */
  #markInherited(address: Endpoint, { state, sinceMs, hasRecovered }: AddressState): void {
    const { check, onMark } = this.#options;
    const forMs = performance.now() - sinceMs;
    if (state === 'down' || (state === 'up' && hasRecovered)) onMark({ key: healthKey(check, address), state, forMs });
  }

  #unmark(address: Endpoint): void {
    const { check, onMark } = this.#options;
    onMark({ key: healthKey(check, address), state: 'none', forMs: 0 });
  }
}

function reportOf(address: Endpoint, { state, since, checkedAt, failure }: AddressState): AddressReport {
  return {
    address,
    state,
    since,
    ...(checkedAt !== undefined && { checkedAt }),
    ...(failure !== undefined && { failure }),
  };
}
