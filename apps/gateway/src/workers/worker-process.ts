import cluster from 'node:cluster';
import type { Worker } from 'node:cluster';
import { fileURLToPath } from 'node:url';
import { pause } from '@meshgate/core';
import type { DrainProgress, RouteSnapshot } from '@meshgate/core';
import type { Answers, FromWorker, NamedAddresses, Question, ToWorker, WorkerPlan, WorkerState } from './messages.ts';
import { startError } from './messages.ts';
import { RouteFeed } from './route-feed.ts';

/** `leaving`: it drains by itself, since something in it is broken. */
export type WorkerPhase = 'starting' | 'listening' | 'leaving' | 'ended';

/** What a worker begins with. */
export interface Beginning {
  readonly plan: WorkerPlan;
  /** What each source of routes has said last. */
  readonly snapshots: ReadonlyMap<string, RouteSnapshot>;
}

const MAIN = fileURLToPath(new URL('main.js', import.meta.url));

/** The descriptor of a worker's log, in the worker. */
export const WORKER_LOG_FD = 4;

/**
 * The log is no standard output of the worker: those a new process inherits are made blocking for everybody who has them, as libuv does
 * before it starts one, and again when Node exits.
 */
function stdioOf(logFd: number): (string | number)[] {
  return ['ignore', 'pipe', 'pipe', 'ipc', logFd];
}

/** A worker as the primary sees it, from its fork to its end. */
export class WorkerProcess {
  /** Resolves when it listens, or with the reason why it never will. */
  readonly begun: Promise<Error | undefined>;
  /** Resolves with the reason why it takes, or will soon take, no more connections, although nobody told it so. */
  readonly lost: Promise<string>;
  /** Resolves when the process is gone: with what was wrong with its end, if anything. */
  readonly ended: Promise<string | undefined>;
  /** Resolves when no connection of it is left: with what became of them, unless it died. */
  readonly drained: Promise<DrainProgress | undefined>;
  readonly #worker: Worker;
  readonly #answers = new Map<number, (answer: Answers[Question] | undefined) => void>();
  #onBegun: (failure?: Error) => void = () => undefined;
  #onLost: (reason: string) => void = () => undefined;
  #onEnded: (reason: string | undefined) => void = () => undefined;
  #onDrained: (progress?: DrainProgress) => void = () => undefined;
  #state: WorkerState = { listeners: [], ejected: [] };
  #phase: WorkerPhase = 'starting';
  /** Absent until the worker can hear. */
  #feed: RouteFeed | undefined;
  #onTaken: () => void = () => undefined;
  #wanted = true;
  #asked = 0;

  /**
   * @param logFd where the process writes its log: it finds it as {@link WORKER_LOG_FD}
   * @param beginning called once, when the worker can hear
   */
  constructor(logFd: number, beginning: (idPrefix: string) => Beginning) {
    this.begun = new Promise((resolve) => (this.#onBegun = resolve));
    this.lost = new Promise((resolve) => (this.#onLost = resolve));
    this.ended = new Promise((resolve) => (this.#onEnded = resolve));
    this.drained = new Promise((resolve) => (this.#onDrained = resolve));
    // Each worker accepts by itself. The other policy, by which the primary accepts and hands out, loses what is on its way to a
    // worker that dies: nobody ever closes that connection, its client waits for as long as it can.
    cluster.schedulingPolicy = cluster.SCHED_NONE;
    cluster.setupPrimary({ exec: MAIN, args: [], serialization: 'advanced', stdio: stdioOf(logFd) });
    this.#worker = cluster.fork();
    // What plugins print, and what Node itself says when it breaks off.
    this.#worker.process.stdout?.on('data', (chunk: Buffer) => process.stdout.write(chunk));
    this.#worker.process.stderr?.on('data', (chunk: Buffer) => process.stderr.write(chunk));
    // What could not be delivered is answered for by the end of the process, which follows.
    this.#worker.on('error', () => undefined);
    this.#worker.on('message', (message: FromWorker) => this.#hear(message, beginning));
    this.#worker.on('exit', (code, signal) => this.#end(code, signal));
  }

  /** For people: `worker 2 (pid 4711)`. */
  get name(): string {
    return `worker ${this.#worker.id} (pid ${this.#worker.process.pid ?? 'none'})`;
  }

  get phase(): WorkerPhase {
    return this.#phase;
  }

  get state(): WorkerState {
    return this.#state;
  }

  tell(message: ToWorker): void {
    if (this.#worker.isConnected()) this.#worker.send(message);
  }

  /** The routes of `source` from now on. Of no effect before it can hear: it begins with all that there is then. */
  offer(source: string, snapshot: RouteSnapshot): void {
    this.#feed?.offer(source, snapshot);
  }

  /** The same for where to listen. */
  listen(heard: NamedAddresses): void {
    this.tell({ kind: 'addresses', ...heard });
  }

  /** `undefined` when it does not answer in time. */
  async ask<Asked extends Question>(question: Asked, patienceMs: number): Promise<Answers[Asked] | undefined> {
    this.#asked += 1;
    const ask = this.#asked;
    const over = new AbortController();
    const answered = new Promise<Answers[Question] | undefined>((resolve) => this.#answers.set(ask, resolve));
    this.tell({ kind: 'ask', ask, question });
    const answer = await Promise.race([answered, this.ended, pause(patienceMs, over.signal)]);
    over.abort();
    this.#answers.delete(ask);
    // The answer to a question is of its kind, or none at all: what `ended` resolves with is no object.
    return typeof answer === 'object' ? (answer as Answers[Asked]) : undefined;
  }

  /** For one that hears nobody. */
  kill(): void {
    this.#worker.process.kill('SIGKILL');
  }

  /** For one that is not wanted any more and has no connections: that it ends so is not held against it. */
  discard(): void {
    this.#wanted = false;
    this.kill();
  }

  #hear(message: FromWorker, beginning: (idPrefix: string) => Beginning): void {
    switch (message.kind) {
      case 'loaded':
        return this.#begin(beginning(`${this.#worker.id}-`));
      case 'taken':
        return this.#onTaken();
      case 'begun':
        this.#phase = 'listening';
        return this.#onBegun();
      case 'failed':
        return this.#onBegun(startError(message.failure));
      case 'failing':
        this.#phase = 'leaving';
        return this.#onLost(`${this.name} met an exception that nobody caught: ${message.reason}`);
      case 'state':
        this.#state = message.state;
        return;
      case 'answer':
        return this.#answers.get(message.ask)?.(message.answer);
      case 'drained':
        return this.#onDrained(message.progress);
      default:
        message satisfies never;
    }
  }

  #begin({ plan, snapshots }: Beginning): void {
    this.tell({ kind: 'begin', plan });
    this.#feed = new RouteFeed((part) => {
      this.tell({ kind: 'routes', part });
      return new Promise((resolve) => (this.#onTaken = resolve));
    });
    for (const [source, snapshot] of snapshots) this.#feed.offer(source, snapshot);
  }

  #end(code: number | null, signal: string | null): void {
    const how = signal === null ? `ended with status ${code}` : `was ended by ${signal}`;
    const reason = `${this.name} ${how}`;
    this.#phase = 'ended';
    this.#state = { listeners: [], ejected: [] };
    this.#onBegun(new Error(reason));
    this.#onLost(reason);
    this.#onDrained();
    this.#onEnded(code === 0 || !this.#wanted ? undefined : reason);
  }
}
