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

/** A backend, its check, and the dependencies of {@link CheckedBackend}. */
export interface CheckedOptions {
  /** The backend of the route; the host may be a DNS name. */
  readonly backend: Endpoint;
  readonly check: HealthCheck;
  readonly addresses: Pick<AddressBook, 'find'>;
  readonly observer: Observer;
  /** Runs one check of one address when a slot is free. */
  run(check: HealthCheck, address: Endpoint): Promise<CheckOutcome>;
  /** Receives changes that affect connections. */
  onMark(mark: HealthMark): void;
}

/** Check results of a backend. */
export interface CheckReport {
  /** A DNS name is up if one of its addresses is. */
  readonly state: CheckState;
  /** Results by address: several if the backend is a DNS name. */
  readonly addresses: readonly AddressReport[];
}

/** Check results of one address. */
export interface AddressReport {
  readonly address: Endpoint;
  readonly state: CheckState;
  /** Time of the last change of state. */
  readonly since: Date;
  /** Time of the last check; absent before the first. */
  readonly checkedAt?: Date;
  /** Why the last check failed; absent if it passed. */
  readonly failure?: string;
}

/** A backend that is checked periodically, with all of its addresses if it is a DNS name. */
export class CheckedBackend {
  readonly #options: CheckedOptions;
  readonly #isName: boolean;
  readonly #states = new Map<string, { readonly address: Endpoint; readonly state: AddressState }>();
  /** State of a name without an address. */
  #unresolved: AddressState | undefined;
  /** Set by `forget`: results of checks in progress are ignored from then on. */
  #isForgotten = false;

  constructor(options: CheckedOptions) {
    const { backend } = options;
    this.#options = options;
    this.#isName = isIP(backend.host) === 0 && unixPath(backend) === undefined;
  }

  get key(): string {
    return healthKey(this.#options.check, this.#options.backend);
  }

  /** The backend of the route. */
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

  /** Takes over the results of `other`: the same backend, with an equivalent check. */
  inherit(other: CheckedBackend): void {
    for (const [key, known] of other.#states) {
      this.#states.set(key, known);
      this.#markInherited(known.address, known.state);
    }
    this.#unresolved = other.#unresolved;
    // A name is down since its last address went down.
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

  /** Ends the checks and removes their results: no route needs them any more. */
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

  /**
   * Returns the addresses to check; `undefined` if the name has none, which counts as a failed check, or if the backend
   * has been forgotten.
   */
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

  /** Removes addresses that the name no longer has. */
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
    // A local shortage says nothing about the backend, and a removed address has no state.
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

  /** A backend that was never down needs neither a slow start nor a mark. */
  #mark(address: Endpoint, state: CheckState, before: CheckState): void {
    const { check, onMark } = this.#options;
    const key = healthKey(check, address);
    if (state === 'down') onMark({ key, state, forMs: 0 });
    else if (before === 'down') onMark({ key, state: 'up', forMs: 0 });
  }

  /** Marks an inherited state with its real duration, since connections already know it. */
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
