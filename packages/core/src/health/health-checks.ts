import type { Service } from '../lifecycle/service.ts';
import type { AddressBook } from '../names/address-book.ts';
import type { Observer, ProxyEvent } from '../observe.ts';
import type { HealthCheck, Route } from '../routes/route.ts';
import { formatEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Transport } from '../transport/transport.ts';
import { openScope, timerMs } from '../watch/scope.ts';
import { healthKey } from './backend-health.ts';
import type { HealthMark } from './backend-health.ts';
import { checkOnce } from './check-once.ts';
import { CheckedBackend } from './checked-backend.ts';
import type { CheckedOptions, CheckReport } from './checked-backend.ts';
import { Slots } from './slots.ts';

/** Dependencies of {@link HealthChecks}. */
export interface HealthChecksOptions {
  readonly transport: Pick<Transport, 'dial'>;
  readonly addresses: Pick<AddressBook, 'find'>;
  /** Receives each check, and changes of state. */
  readonly observer: Observer;
  /** Receives changes that affect the selection of backends, for this process and others. */
  onMark(mark: HealthMark): void;
  /** Returns a random number in [0, 1); `Math.random` when absent. */
  readonly random?: () => number;
}

/** Bounds the file descriptors for checks: most of those that `limits.connections: auto` leaves free stay free. */
const MAX_IN_FLIGHT = 100;
/** Spreads the first checks of many backends, so that no network notices them. */
const FIRST_CHECK_SPACING_MS = 5;
/** Makes checks that began together drift apart. */
const JITTER = 0.2;

/** A checked backend, and the timer of its next check. */
interface Scheduled {
  readonly checked: CheckedBackend;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Checks the backends of routes with health checks, whether or not there are connections. Identical checks of several
 * routes are made once. Runs in one process, which passes the results on to the others.
 */
export class HealthChecks implements Service, Observer {
  readonly name = 'health checks';
  readonly #options: HealthChecksOptions;
  readonly #random: () => number;
  readonly #slots = new Slots(MAX_IN_FLIGHT);
  readonly #leaving = openScope();
  /** The checks that each source's routes need. */
  readonly #wanted = new Map<string, ReadonlyMap<string, Wanted>>();
  readonly #scheduled = new Map<string, Scheduled>();
  readonly #inFlight = new Set<Promise<void>>();
  #isRunning = false;

  constructor(options: HealthChecksOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
  }

  /** Returns the check results of a backend of `route`, or `undefined` if it is not checked. */
  reportOf({ healthCheck }: Route, backend: Endpoint): CheckReport | undefined {
    return healthCheck && this.#scheduled.get(healthKey(healthCheck, backend))?.checked.report;
  }

  /** Whether every backend has been checked once; unchecked ones count as up. */
  get isSettled(): boolean {
    for (const { checked } of this.#scheduled.values()) if (checked.report.state === 'unknown') return false;
    return true;
  }

  observe(event: ProxyEvent): void {
    if (event.type !== 'routes.replaced' && event.type !== 'source.removed') return;
    const { source } = event;
    const wanted = wantedBy(event.type === 'source.removed' ? [] : event.snapshot.routes);
    if (wanted.size === 0 && !this.#wanted.has(source)) return;
    if (wanted.size === 0) this.#wanted.delete(source);
    else this.#wanted.set(source, wanted);
    this.#reconcile();
  }

  start(): Promise<void> {
    this.#isRunning = true;
    for (const scheduled of this.#scheduled.values()) this.#schedule(scheduled, this.#firstDelayMs(scheduled));
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    this.#leaving.end();
    for (const { timer } of this.#scheduled.values()) clearTimeout(timer);
    await Promise.all(this.#inFlight);
  }

  #reconcile(): void {
    const wanted = new Map([...this.#wanted.values()].flatMap((some) => [...some]));
    const gone: CheckedBackend[] = [];
    for (const [key, { checked, timer }] of this.#scheduled) {
      if (wanted.has(key)) continue;
      clearTimeout(timer);
      this.#scheduled.delete(key);
      gone.push(checked);
    }
    const known = new Map(gone.map((checked) => [checkKeyOf(checked), checked]));
    const added: Scheduled[] = [];
    for (const [key, { backend, check }] of wanted) {
      if (this.#scheduled.has(key)) continue;
      const checked = this.#checked(backend, check);
      // A reload that only changes the timing of a check keeps its results.
      const before = known.get(checkKeyOf(checked));
      if (before !== undefined) checked.inherit(before);
      const scheduled = { checked, timer: undefined };
      this.#scheduled.set(key, scheduled);
      added.push(scheduled);
    }
    for (const checked of gone) checked.forget();
    if (this.#isRunning) for (const one of added) this.#schedule(one, this.#firstDelayMs(one));
  }

  #checked(backend: Endpoint, check: HealthCheck): CheckedBackend {
    const { transport, addresses, observer, onMark } = this.#options;
    const { signal } = this.#leaving;
    const run: CheckedOptions['run'] = (by, address) =>
      this.#slots.run(() =>
        signal.aborted ? Promise.resolve({ kind: 'shortage' }) : checkOnce({ transport, check: by, address, signal }),
      );
    return new CheckedBackend({ backend, check, addresses, observer, run, onMark });
  }

  #firstDelayMs({ checked: { check } }: Scheduled): number {
    return this.#random() * Math.min(check.intervalMs, this.#scheduled.size * FIRST_CHECK_SPACING_MS);
  }

  #schedule(scheduled: Scheduled, delayMs: number): void {
    scheduled.timer = setTimeout(() => this.#run(scheduled), timerMs(delayMs));
    scheduled.timer.unref();
  }

  #run(scheduled: Scheduled): void {
    const { checked } = scheduled;
    const beganAt = performance.now();
    const work = checked.runOnce().then(() => {
      this.#inFlight.delete(work);
      const isWanted = this.#scheduled.get(checked.key) === scheduled;
      if (!this.#isRunning || !isWanted) return;
      const everyMs = checked.check.intervalMs * (1 - JITTER / 2 + JITTER * this.#random());
      this.#schedule(scheduled, Math.max(0, everyMs - (performance.now() - beganAt)));
    });
    this.#inFlight.add(work);
  }
}

/** Identifies a check without its timing. */
function checkKeyOf({ backend, check: { kind, serverName = '' } }: CheckedBackend): string {
  return `${kind} ${serverName} ${formatEndpoint(backend)}`;
}

interface Wanted {
  readonly backend: Endpoint;
  readonly check: HealthCheck;
}

function wantedBy(routes: readonly Route[]): ReadonlyMap<string, Wanted> {
  const wanted = new Map<string, Wanted>();
  for (const { healthCheck: check, backends } of routes) {
    if (check === undefined) continue;
    for (const { address } of backends) wanted.set(healthKey(check, address), { backend: address, check });
  }
  return wanted;
}
