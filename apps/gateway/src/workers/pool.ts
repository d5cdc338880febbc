import { fstatSync } from 'node:fs';
import { formatEndpoint, pause } from '@meshgate/core';
import { formatDuration } from '@meshgate/core/parts';
import { backoff, listenerSources, onAbort, unlessAborted } from '@meshgate/core/parts';
import type { Endpoint, ListenAddress, ListenerSource, Observer, RouteSource, Service } from '@meshgate/core';
import type { DrainReason, ListenerStatus, Preference, PreparedChange, SourceSet } from '@meshgate/core/parts';
import type { HeldByProcess } from '../run/gateway.ts';
import type { InheritedSocket } from '../run/inherited-sockets.ts';
import type { LogLevel } from '../config/config-schema.ts';
import type { ConnectionQuery } from '../admin/connection-query.ts';
import type { QueryResults, QueryName, ToWorker, WorkerPlan } from './messages.ts';
import type { SnapshotBroadcaster } from './snapshot-broadcaster.ts';
import { whyUnshared } from './unshared.ts';
import { WorkerProcess } from './worker-process.ts';
import type { WorkerStart } from './worker-process.ts';
import { closeAll, WorkerSockets } from './worker-sockets.ts';

/** Options of a {@link WorkerPool}. */
export interface PoolOptions {
  /** Target number of workers. */
  readonly count: number;
  /** Plan for all workers and their replacements. */
  readonly plan: Omit<WorkerPlan, 'idPrefix' | 'listeners' | 'sources' | 'listenerSources' | 'sockets'>;
  /** Descriptor of the workers' log, which stays open. */
  readonly logFd: number;
  /** Sockets opened for the workers. */
  readonly sockets: readonly InheritedSocket[];
  readonly broadcaster: SnapshotBroadcaster;
  readonly listeners: readonly ListenAddress[];
  readonly listenerSources: readonly ListenerSource[];
  /** Receives every lost worker and every failed listener source. */
  readonly observer: Observer;
  /** Called when a worker is lost, and once it has exited, so that its counters are final. */
  onLost(): void;
  onEnded(worker: WorkerProcess): void;
}

/** Keeps the target number of workers running. Replaces a lost worker, without effect on the others. */
export class WorkerPool implements Service {
  readonly name = 'workers';
  readonly #options: PoolOptions;
  readonly #workers = new Set<WorkerProcess>();
  readonly #leaving = new AbortController();
  readonly #failures: string[] = [];
  /** Last bound addresses of the configured listeners, by name. */
  readonly #bound = new Map<string, Endpoint>();
  readonly #slots = new Map<WorkerProcess, number>();
  readonly #sockets: WorkerSockets;
  #plan: PoolOptions['plan'];
  #listeners: readonly ListenAddress[];
  /** The last level that was set; that of the configuration when absent. */
  #logLevel: LogLevel | undefined;
  readonly #sources: SourceSet<ListenerSource>;
  #pauses = backoff(PAUSES);
  #lastLossAt = -Infinity;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#plan = options.plan;
    this.#sockets = new WorkerSockets(options.sockets);
    this.#listeners = options.listeners;
    const { broadcaster, observer, listenerSources: sources } = options;
    this.#sources = listenerSources(
      { sources, observer },
      ({ name }, addresses) => broadcaster.listen(name, this.#shareable(name, addresses)),
      this.#leaving.signal,
    );
  }

  /** Running workers, in any phase. */
  get workers(): readonly WorkerProcess[] {
    return [...this.#workers];
  }

  /** State of the listeners. A listener is bound when at least one worker accepts on it. */
  get status(): readonly ListenerStatus[] {
    const followed = this.#options.broadcaster.addresses.flatMap(({ addresses }) => addresses);
    return [...this.#listeners, ...followed].map((at) => ({ ...at, ...this.#boundAt(at) }));
  }

  /** Whether a worker has ejected `address`. */
  isEjected(address: Endpoint): boolean {
    const text = formatEndpoint(address);
    return this.workers.some(({ state }) => state.ejected.includes(text));
  }

  /** Labels of the backends that workers prefer. */
  get preference(): Preference {
    return this.#plan.config.prefer ?? {};
  }

  /** Number of addresses that workers have ejected. */
  get ejected(): number {
    return new Set(this.workers.flatMap(({ state }) => state.ejected)).size;
  }

  /** Sets the log level of all present and future workers. */
  setLogLevel(level: LogLevel): void {
    this.#logLevel = level;
    this.send({ kind: 'log level', level });
  }

  /** Why the log lines of a worker cannot be written at the moment, if so. */
  get logTrouble(): string | undefined {
    return this.workers.find(({ state }) => state.logTrouble !== undefined)?.state.logTrouble;
  }

  /** Recent shortages of the workers, without repetitions. */
  get troubles(): readonly string[] {
    return [...new Set(this.workers.flatMap(({ state }) => state.troubles))];
  }

  send(message: ToWorker): void {
    for (const worker of this.#workers) worker.send(message);
  }

  /** Queries all workers; skips those that do not respond in time. */
  async query<Name extends QueryName>(
    name: Name,
    onResult: (result: QueryResults[Name], worker: WorkerProcess) => void,
  ): Promise<void> {
    const queries = this.workers.map(async (worker) => {
      const result = await worker.query(name, QUERY_TIMEOUT_MS);
      if (result !== undefined) onResult(result, worker);
    });
    await Promise.all(queries);
  }

  /** Closes the matching connections in every worker. @returns the number of closed connections */
  async close(query: ConnectionQuery): Promise<number> {
    const results = await Promise.all(this.workers.map((worker) => worker.query('close', CLOSE_TIMEOUT_MS, query)));
    return results.reduce((sum, result) => sum + (result?.closed ?? 0), 0);
  }

  /** Starts all workers or none. The first one starts alone, so that a common problem is reported once. */
  async start(signal: AbortSignal): Promise<void> {
    this.#sources.start();
    const rest = Array.from({ length: this.#options.count - 1 });
    try {
      this.#sockets.add(await this.#sockets.open(this.#listeners));
      await unlessAborted(this.#startWorker(), signal);
      await unlessAborted(Promise.all(rest.map(() => this.#startWorker())), signal);
    } catch (reason) {
      this.#leaving.abort();
      for (const worker of this.#workers) worker.discard();
      await Promise.all(this.workers.map(({ ended }) => ended));
      this.#sockets.closeOpened();
      throw reason;
    }
  }

  /**
   * Prepares a change in all workers or none: first in one alone, because most problems are common to all.
   *
   * @throws its error; nothing changes then
   */
  async prepare(plan: PoolOptions['plan'], next: NextListeners): Promise<PreparedChange> {
    // Workers that are still starting have the previous plan.
    await Promise.all(this.workers.map(({ started }) => started));
    const workers = this.workers.filter(({ phase }) => phase === 'listening');
    const bound = new Map<string, Endpoint>();
    const opened = await this.#sockets.open(next.listeners);
    const discard = async (): Promise<void> => {
      for (const worker of workers) worker.send({ kind: 'discard' });
      closeAll(opened);
    };
    const { config, limits, adminAt } = plan;
    const names = { sources: namesOf(next.sources), listenerSources: namesOf(next.listenerSources) };
    try {
      for (const worker of workers) {
        worker.inherit(opened);
        const listeners = listenersFor(worker, next.listeners, plan.reusePort ? bound : new Map());
        for (const { name, address } of await worker.prepare({ config, limits, adminAt, listeners, ...names }))
          if (address !== undefined) bound.set(name, address);
      }
    } catch (reason) {
      await discard();
      throw reason;
    }
    const commit = async (): Promise<void> => {
      this.#plan = plan;
      // The configuration resets the level, as in the running workers.
      this.#logLevel = undefined;
      this.#listeners = next.listeners;
      this.#sockets.add(opened);
      this.#sockets.keepOnly(next.listeners);
      for (const [name, address] of bound) this.#bound.set(name, address);
      // A worker that has started since the preparation has the previous plan, so it is restarted.
      for (const worker of this.workers) if (!workers.includes(worker)) worker.kill();
      const committed = Promise.all(workers.map((worker) => worker.commit()));
      await this.#sources.stop(this.#sources.replace(next.listenerSources).gone);
      this.#sources.start();
      await committed;
    };
    return { commit, discard };
  }

  /** Returns the sockets of all workers, each once. */
  async sockets(): Promise<HeldByProcess> {
    const all = (await Promise.all(this.workers.map((worker) => worker.sockets()))).flat();
    const seen = new Set<bigint>();
    const sockets = all.flatMap(({ name, endpoint, handle: { fd } }) => {
      const { ino } = fstatSync(fd, { bigint: true });
      // Each worker reports shared sockets.
      if (seen.has(ino)) return [];
      seen.add(ino);
      return [{ kind: 'listener', name, endpoint, fd } as const];
    });
    return { sockets, close: () => all.forEach(({ handle }) => handle.close()) };
  }

  /**
   * Closes the sockets, so that no more workers start, and no client waits in an accept queue that is not served.
   *
   * @param why after a handover, the successor keeps the paths of unix sockets
   */
  closeSockets(why: DrainReason): void {
    this.#sockets.close(why);
  }

  /** Stops replacing workers. Discards those that are still starting, which have no connections. */
  stopReplacing(): void {
    this.#leaving.abort();
    for (const worker of this.#workers) if (worker.phase === 'starting') worker.discard();
  }

  /** Stops all workers. Rejects when one has failed since the drain started. */
  async stop(signal: AbortSignal): Promise<void> {
    this.stopReplacing();
    const release = onAbort(signal, () => this.workers.forEach((worker) => worker.kill()));
    this.send({ kind: 'stop' });
    await Promise.all([this.#sources.stop(), ...this.workers.map(({ ended }) => ended)]);
    release();
    this.#sockets.closeOpened();
    if (this.#failures.length > 0) throw new Error(this.#failures.join('; '));
  }

  /** Returns the lowest free slot: a replacement inherits the sockets of the lost worker. */
  #freeSlot(): number {
    const used = new Set(this.#slots.values());
    let slot = 0;
    while (used.has(slot)) slot += 1;
    return slot;
  }

  async #startWorker(): Promise<void> {
    if (this.#leaving.signal.aborted) return;
    const { broadcaster, logFd, count } = this.#options;
    const slot = this.#freeSlot();
    const sockets = this.#sockets.for(slot, count);
    const worker = new WorkerProcess({ logFd, sockets }, (idPrefix) => ({
      plan: this.#planFor(idPrefix),
      snapshots: broadcaster.snapshots,
      marks: broadcaster.marks,
    }));
    this.#workers.add(worker);
    this.#slots.set(worker, slot);
    void worker.ended.then((failure) => this.#ended(worker, failure));
    const failure = await worker.started;
    if (failure !== undefined) throw failure;
    for (const { name, address } of worker.state.listeners) if (address !== undefined) this.#bound.set(name, address);
    void worker.lost.then((reason) => this.#replace(reason));
  }

  #ended(worker: WorkerProcess, failure: string | undefined): void {
    this.#workers.delete(worker);
    this.#slots.delete(worker);
    this.#options.onEnded(worker);
    if (failure !== undefined && this.#leaving.signal.aborted) this.#failures.push(failure);
  }

  /** Starts replacements until one listens, or the pool stops. */
  async #replace(reason: string): Promise<void> {
    const { signal } = this.#leaving;
    for (let lost: string | undefined = reason; lost !== undefined && !signal.aborted;) {
      const pauseMs = this.#pauseAfterLoss();
      const error = new Error(`${lost}; restarting in ${formatDuration(Math.round(pauseMs))}`);
      this.#options.onLost();
      this.#options.observer.observe({ type: 'service.failed', service: this.name, error });
      await pause(pauseMs, signal);
      lost = await this.#startWorker().then(() => undefined, messageOf);
    }
  }

  #pauseAfterLoss(): number {
    const now = performance.now();
    if (now - this.#lastLossAt > CALM_MS) this.#pauses = backoff(PAUSES);
    this.#lastLossAt = now;
    return this.#pauses.next().value;
  }

  #planFor(idPrefix: string): WorkerStart['plan'] {
    const plan = this.#plan;
    const { broadcaster } = this.#options;
    this.#fixPorts();
    const current = { sources: [...broadcaster.snapshots.keys()], listenerSources: broadcaster.addresses };
    const log = { ...plan.config.log, ...(this.#logLevel !== undefined && { level: this.#logLevel }) };
    return { ...plan, ...current, config: { ...plan.config, log }, idPrefix, listeners: this.#listeners };
  }

  /**
   * Gives port 0 the same port in all workers. Workers that share a socket share its port while one of them runs;
   * workers that bind their own get the port in their plan.
   */
  #fixPorts(): void {
    const someoneListens = this.workers.some(({ phase }) => phase === 'listening');
    if (someoneListens && !this.#plan.reusePort) return;
    this.#listeners = this.#listeners.map((at) => ({ ...at, endpoint: this.#bound.get(at.name) ?? at.endpoint }));
  }

  #boundAt({ name, endpoint }: ListenAddress): { readonly address?: Endpoint } {
    const statuses = this.workers.flatMap(({ state }) => state.listeners);
    const isSame = (other: ListenerStatus): boolean =>
      other.name === name &&
      other.endpoint.host === endpoint.host &&
      (endpoint.port === 0 || other.endpoint.port === endpoint.port);
    const address = statuses.find((status) => status.address !== undefined && isSame(status))?.address;
    return address === undefined ? {} : { address };
  }

  /** Returns the addresses on which all workers can listen; reports the others. */
  #shareable(source: string, addresses: readonly ListenAddress[]): readonly ListenAddress[] {
    const plan = this.#plan;
    const { observer } = this.#options;
    if (!plan.reusePort) return addresses;
    return addresses.filter(({ name, endpoint }) => {
      const why = whyUnshared(plan.transport, endpoint);
      if (why === undefined) return true;
      const error = new Error(`listener ${name} of source ${source} not opened: ${why}`);
      observer.observe({ type: 'service.failed', service: this.name, error });
      return false;
    });
  }
}

/** Listeners and sources of the workers after a change. */
export interface NextListeners {
  readonly listeners: readonly ListenAddress[];
  readonly listenerSources: readonly ListenerSource[];
  readonly sources: readonly RouteSource[];
}

function namesOf(sources: readonly { readonly name: string }[]): readonly string[] {
  return sources.map(({ name }) => name);
}

/**
 * Returns the listeners for `worker`: one with port 0 keeps the port that this worker has bound, and a new one has the
 * first worker's port.
 */
function listenersFor(
  { state }: WorkerProcess,
  listeners: readonly ListenAddress[],
  bound: ReadonlyMap<string, Endpoint>,
): readonly ListenAddress[] {
  return listeners.map((at) => {
    if (at.endpoint.port !== 0) return at;
    const own = state.listeners.find(({ name, endpoint }) => name === at.name && endpoint.host === at.endpoint.host);
    return { ...at, endpoint: own?.endpoint ?? bound.get(at.name) ?? at.endpoint };
  });
}

/** The first restart is immediate; the back-off keeps a crashing worker from using up the machine. */
const PAUSES = { firstMs: 100, maxMs: 10_000 };
/** Time without a loss after which the back-off is reset. */
const CALM_MS = 60_000;
/** A healthy worker responds within milliseconds; a scraper usually gives up after ten seconds. */
const QUERY_TIMEOUT_MS = 1_000;
/** Large numbers of connections are closed in slices. */
const CLOSE_TIMEOUT_MS = 30_000;

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
