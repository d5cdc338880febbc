import { formatEndpoint, pause } from '@meshgate/core';
import { backoff, follow } from '@meshgate/core/parts';
import type { Endpoint, ListenAddress, ListenerSource, Observer, Service } from '@meshgate/core';
import type { ListenerStatus } from '@meshgate/core/parts';
import type { Answers, Question, ToWorker, WorkerPlan } from './messages.ts';
import type { News } from './snapshot-broadcaster.ts';
import { whyUnshared } from './unshared.ts';
import { WorkerProcess } from './worker-process.ts';

/** What a {@link WorkerPool} is made of. */
export interface PoolOptions {
  /** How many workers there should be. */
  readonly count: number;
  /** The same for all of them, and for those that come later. */
  readonly plan: Omit<WorkerPlan, 'idPrefix' | 'listeners' | 'sources' | 'listenerSources'>;
  /** Where workers write their logs; stays open. */
  readonly logFd: number;
  readonly news: News;
  readonly listeners: readonly ListenAddress[];
  readonly listenerSources: readonly ListenerSource[];
  /** Told of every worker that is lost, and of sources of listeners that fail. */
  readonly observer: Observer;
  /** Told when a worker was lost, and when one has ended: what it counted is final then. */
  onLost(): void;
  onEnded(worker: WorkerProcess): void;
}

/** As many workers as there should be: one that is lost is replaced, the others never notice. */
export class WorkerPool implements Service {
  readonly name = 'workers';
  readonly #options: PoolOptions;
  readonly #workers = new Set<WorkerProcess>();
  readonly #leaving = new AbortController();
  readonly #fallen: string[] = [];
  /** Where the fixed listeners were bound last, by name. */
  readonly #bound = new Map<string, Endpoint>();
  #listeners: readonly ListenAddress[];
  #pauses = backoff(PAUSES);
  #lastLossAt = -Infinity;
  #following: Promise<unknown> = Promise.resolve();

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#listeners = options.listeners;
  }

  /** Those that run, whether they listen yet, or still, or not. */
  get workers(): readonly WorkerProcess[] {
    return [...this.#workers];
  }

  /** A listener is bound when one worker at least accepts on it. */
  get status(): readonly ListenerStatus[] {
    const { listeners, news } = this.#options;
    const followed = news.addresses.flatMap(({ addresses }) => addresses);
    return [...listeners, ...followed].map((at) => ({ ...at, ...this.#boundAt(at) }));
  }

  /** Whether a worker has put `address` aside. */
  isEjected(address: Endpoint): boolean {
    const text = formatEndpoint(address);
    return this.workers.some(({ state }) => state.ejected.includes(text));
  }

  /** Why the lines of a worker's log cannot be written at the moment, if so. */
  get logTrouble(): string | undefined {
    return this.workers.find(({ state }) => state.logTrouble !== undefined)?.state.logTrouble;
  }

  tell(message: ToWorker): void {
    for (const worker of this.#workers) worker.tell(message);
  }

  /** The answers of those that listen, or did, and answer in time. */
  async ask<Asked extends Question>(
    question: Asked,
    onAnswer: (answer: Answers[Asked], worker: WorkerProcess) => void,
  ): Promise<void> {
    const asking = this.workers.map(async (worker) => {
      const answer = await worker.ask(question, ANSWER_PATIENCE_MS);
      if (answer !== undefined) onAnswer(answer, worker);
    });
    await Promise.all(asking);
  }

  /** All of them or none. The first begins alone: what is wrong for it is wrong for all, and is told once. */
  async start(signal: AbortSignal): Promise<void> {
    const { listenerSources } = this.#options;
    this.#following = Promise.all(listenerSources.map((source) => this.#follow(source)));
    const rest = Array.from({ length: this.#options.count - 1 });
    try {
      await orAborted(this.#begin(), signal);
      await orAborted(Promise.all(rest.map(() => this.#begin())), signal);
    } catch (reason) {
      this.#leaving.abort();
      for (const worker of this.#workers) worker.discard();
      await Promise.all(this.workers.map(({ ended }) => ended));
      throw reason;
    }
  }

  /** From now on no worker is replaced. One that has not begun yet has no connection either, and is not waited for. */
  leave(): void {
    this.#leaving.abort();
    for (const worker of this.#workers) if (worker.phase === 'starting') worker.discard();
  }

  /** Rejects when a worker did not end as it should: since the drain began, or now. */
  async stop(signal: AbortSignal): Promise<void> {
    this.leave();
    const killAll = (): void => this.workers.forEach((worker) => worker.kill());
    signal.addEventListener('abort', killAll, { once: true });
    if (signal.aborted) killAll();
    this.tell({ kind: 'stop' });
    await Promise.all([this.#following, ...this.workers.map(({ ended }) => ended)]);
    signal.removeEventListener('abort', killAll);
    if (this.#fallen.length > 0) throw new Error(this.#fallen.join('; '));
  }

  async #begin(): Promise<void> {
    if (this.#leaving.signal.aborted) return;
    const { news, logFd } = this.#options;
    const worker = new WorkerProcess(logFd, (idPrefix) => ({
      plan: this.#planFor(idPrefix),
      snapshots: news.snapshots,
    }));
    this.#workers.add(worker);
    void worker.ended.then((failure) => this.#ended(worker, failure));
    const failure = await worker.begun;
    if (failure !== undefined) throw failure;
    for (const { name, address } of worker.state.listeners) if (address !== undefined) this.#bound.set(name, address);
    void worker.lost.then((reason) => this.#replace(reason));
  }

  #ended(worker: WorkerProcess, failure: string | undefined): void {
    this.#workers.delete(worker);
    this.#options.onEnded(worker);
    if (failure !== undefined && this.#leaving.signal.aborted) this.#fallen.push(failure);
  }

  /** Until another one listens in the place of the one that was lost, or nobody wants it any more. */
  async #replace(reason: string): Promise<void> {
    const { signal } = this.#leaving;
    for (let lost: string | undefined = reason; lost !== undefined && !signal.aborted;) {
      const pauseMs = this.#pauseAfterLoss();
      const error = new Error(`${lost}; another one starts in ${Math.round(pauseMs)} ms`);
      this.#options.onLost();
      this.#options.observer.observe({ type: 'service.failed', service: this.name, error });
      await pause(pauseMs, signal);
      lost = await this.#begin().then(() => undefined, messageOf);
    }
  }

  #pauseAfterLoss(): number {
    const now = performance.now();
    if (now - this.#lastLossAt > CALM_MS) this.#pauses = backoff(PAUSES);
    this.#lastLossAt = now;
    return this.#pauses.next().value;
  }

  #planFor(idPrefix: string): WorkerPlan {
    const { plan, news } = this.#options;
    this.#settlePorts();
    const said = { sources: [...news.snapshots.keys()], listenerSources: news.addresses };
    return { ...plan, ...said, idPrefix, listeners: this.#listeners };
  }

  /**
   * Any free port means the same one for all workers. Those that share a socket see to that among themselves for
   * as long as one of them is there; those that bind by themselves have to be told.
   */
  #settlePorts(): void {
    const someoneListens = this.workers.some(({ phase }) => phase === 'listening');
    if (someoneListens && !this.#options.plan.reusePort) return;
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

  /** Those on which all workers can listen. */
  #shareable(source: string, addresses: readonly ListenAddress[]): readonly ListenAddress[] {
    const { plan, observer } = this.#options;
    if (!plan.reusePort) return addresses;
    return addresses.filter(({ name, endpoint }) => {
      const why = whyUnshared(plan.transport, endpoint);
      if (why === undefined) return true;
      const error = new Error(`listener ${name} of the source ${source} stays closed: ${why}`);
      observer.observe({ type: 'service.failed', service: this.name, error });
      return false;
    });
  }

  async #follow(source: ListenerSource): Promise<void> {
    const { news, observer } = this.#options;
    const { name } = source;
    await follow((signal) => source.watch(signal), this.#leaving.signal, {
      onValue: (addresses) => news.listen(name, this.#shareable(name, addresses)),
      onFailure: (error, retryInMs) => observer.observe({ type: 'source.failed', source: name, error, retryInMs }),
    });
  }
}

/** The first restart is nearly at once; a worker that dies again and again must not spend the machine on being started. */
const PAUSES = { firstMs: 100, maxMs: 10_000 };
/** After so long without a loss the next one is the first of its kind. */
const CALM_MS = 60_000;
/** A worker that is well answers within milliseconds; whoever scrapes gives up after ten seconds, as a rule. */
const ANSWER_PATIENCE_MS = 1_000;

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}

async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const over = new AbortController();
  const aborted = new Promise<never>((_resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true, signal: over.signal });
    if (signal.aborted) abort();
  });
  return Promise.race([work, aborted]).finally(() => over.abort());
}
