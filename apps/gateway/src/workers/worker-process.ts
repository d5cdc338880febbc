import type { ConnectionQuery } from '../admin/connection-query.ts';
import cluster from 'node:cluster';
import type { SendHandle } from 'node:child_process';
import type { Worker } from 'node:cluster';
import { fileURLToPath } from 'node:url';
import type { HealthMark } from '@meshgate/core/parts';
import { settlesWithin } from '@meshgate/core/parts';
import type { DrainProgress, Endpoint, RouteSnapshot } from '@meshgate/core';
import type { ListenerStatus } from '@meshgate/core/parts';
import type {
  QueryResults,
  FromWorker,
  MetricFamily,
  NamedAddresses,
  QueryName,
  ToWorker,
  WorkerChange,
  WorkerPlan,
  WorkerState,
} from './messages.ts';
import { startError } from './messages.ts';
import type { InheritedSocket } from '../run/inherited-sockets.ts';
import { RouteFeed } from './route-feed.ts';
import type { OpenedSocket } from './worker-sockets.ts';

/** `leaving`: it drains by itself after an uncaught exception. */
export type WorkerPhase = 'starting' | 'listening' | 'leaving' | 'ended';

type Prepared = Extract<FromWorker, { readonly kind: 'prepared' }>;

/** What the process of a worker has from this one. */
export interface Inherited {
  /** Where the process writes its log; it is {@link WORKER_LOG_FD} there. */
  readonly logFd: number;
  readonly sockets: readonly InheritedSocket[];
}

/** A socket of a worker, as Node hands it over. */
export interface ReceivedSocket {
  readonly name: string;
  readonly endpoint: Endpoint;
  readonly handle: SocketHandle;
}

interface SocketHandle {
  readonly fd: number;
  close(): void;
}

/** What a worker starts with. */
export interface WorkerStart {
  readonly plan: Omit<WorkerPlan, 'sockets'>;
  /** The last snapshot of each route source. */
  readonly snapshots: ReadonlyMap<string, RouteSnapshot>;
  /** What health checks have found out so far. */
  readonly marks: readonly HealthMark[];
}

const MAIN = fileURLToPath(new URL('main.js', import.meta.url));

/** The descriptor of a worker's log, in the worker. */
export const WORKER_LOG_FD = 4;

/**
 * The log is no standard output of the worker: those a new process inherits are made blocking for everybody who has them, as libuv does
 * before it starts one, and again when Node exits.
 */
function stdioOf(logFd: number, sockets: readonly InheritedSocket[]): (string | number)[] {
  return ['ignore', 'pipe', 'pipe', 'ipc', logFd, ...sockets.map(({ fd }) => fd)];
}

/** As the worker has them. */
function asInherited(sockets: readonly InheritedSocket[]): readonly InheritedSocket[] {
  return sockets.map(({ kind, name, endpoint, isShared = false }, index) => {
    return { kind, name, endpoint, isShared, fd: WORKER_LOG_FD + 1 + index };
  });
}

/** Loading takes a second, and each part of the route table is acknowledged: longer silence is a worker that hangs. */
const START_PROGRESS_MS = 20_000;

/** What it is asked for takes a moment; longer silence is a worker that hangs. */
const RESPONSE_MS = 20_000;
const NO_RESPONSE = `did not respond within ${RESPONSE_MS / 1_000} s`;

/** A worker as the primary sees it, from fork to exit. */
export class WorkerProcess {
  /** Resolves when it listens, or with the reason why it never will: it has failed, exited, or shown no progress in time. */
  readonly started: Promise<Error | undefined>;
  /** Resolves with the reason when it stops accepting connections without having been told to. */
  readonly lost: Promise<string>;
  /** Resolves when the process has exited: with the reason if that was a failure. */
  readonly ended: Promise<string | undefined>;
  /** Resolves when it has no connection left: with the final counts, unless it died. */
  readonly drained: Promise<DrainProgress | undefined>;
  readonly #worker: Worker;
  #onPrepared: (message: Prepared) => void = () => undefined;
  #onCommitted: () => void = () => undefined;
  #onSockets: () => void = () => undefined;
  readonly #sockets: readonly InheritedSocket[];
  readonly #received: ReceivedSocket[] = [];
  readonly #pending = new Map<number, (result: QueryResults[QueryName] | undefined) => void>();
  /** Of the queries for metrics that are pending: what has come. */
  readonly #families = new Map<number, MetricFamily[]>();
  readonly #startTimer: NodeJS.Timeout;
  #onStarted: (failure?: Error) => void = () => undefined;
  #onLost: (reason: string) => void = () => undefined;
  #onEnded: (reason: string | undefined) => void = () => undefined;
  #onDrained: (progress?: DrainProgress) => void = () => undefined;
  #state: WorkerState = { listeners: [], ejected: [], troubles: [] };
  #phase: WorkerPhase = 'starting';
  /** Absent until the worker can receive. */
  #feed: RouteFeed | undefined;
  #onAcknowledged: () => void = () => undefined;
  #isDiscarded = false;
  #lastQuery = 0;

  /**
   * @param startOf called once, when the worker can receive
   */
  constructor(inherits: Inherited, startOf: (idPrefix: string) => WorkerStart) {
    this.#sockets = asInherited(inherits.sockets);
    this.started = new Promise((resolve) => (this.#onStarted = resolve));
    this.lost = new Promise((resolve) => (this.#onLost = resolve));
    this.ended = new Promise((resolve) => (this.#onEnded = resolve));
    this.drained = new Promise((resolve) => (this.#onDrained = resolve));
    // Each worker accepts by itself. The other policy, by which the primary accepts and hands out, loses what is on its way to a
    // worker that dies: nobody ever closes that connection, its client waits for as long as it can.
    cluster.schedulingPolicy = cluster.SCHED_NONE;
    cluster.setupPrimary({
      exec: MAIN,
      args: [],
      serialization: 'advanced',
      stdio: stdioOf(inherits.logFd, inherits.sockets),
    });
    this.#worker = cluster.fork();
    // Output of plugins, and of Node itself when it crashes.
    this.#worker.process.stdout?.on('data', (chunk: Buffer) => process.stdout.write(chunk));
    this.#worker.process.stderr?.on('data', (chunk: Buffer) => process.stderr.write(chunk));
    // A message that could not be delivered is followed by the exit of the process, which is reported.
    this.#worker.on('error', () => undefined);
    this.#worker.on('message', (message: FromWorker, handle: unknown) => {
      if (message.kind === 'socket') this.#received.push({ ...message, handle: handle as SocketHandle });
      else this.#receive(message, startOf);
    });
    this.#worker.on('exit', (code, signal) => this.#end(code, signal));
    this.#startTimer = setTimeout(() => this.#onStuck(), START_PROGRESS_MS);
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

  /** @param handle a socket that goes with it */
  send(message: ToWorker, handle?: object): void {
    if (this.#worker.isConnected()) this.#worker.send(message, handle as SendHandle | undefined);
  }

  /** Routes of `source` from now on. Without effect before it can receive: it starts with those of that moment. */
  offer(source: string, snapshot: RouteSnapshot): void {
    this.#feed?.offer(source, snapshot);
  }

  /** The same for addresses to listen on. */
  listen(list: NamedAddresses): void {
    this.send({ kind: 'addresses', ...list });
  }

  /** The same for what health checks have found out. */
  mark(marks: readonly HealthMark[]): void {
    if (this.#feed !== undefined) this.send({ kind: 'health', marks });
  }

  /** `undefined` when it does not respond in time; where the answer comes in parts, when the next part does not. */
  async query<Name extends QueryName>(
    name: Name,
    timeoutMs: number,
    argument?: ConnectionQuery,
  ): Promise<QueryResults[Name] | undefined> {
    this.#lastQuery += 1;
    const id = this.#lastQuery;
    const responded = new Promise<QueryResults[QueryName] | undefined>((resolve) => this.#pending.set(id, resolve));
    this.send({ kind: 'query', id, name, argument });
    const families: MetricFamily[] = [];
    this.#families.set(id, families);
    const first = Promise.race([responded, this.ended]);
    let isSettled = await settlesWithin(first, timeoutMs);
    for (let before = 0; !isSettled && families.length > before; isSettled = await settlesWithin(first, timeoutMs))
      before = families.length;
    const result = isSettled ? await first : undefined;
    this.#pending.delete(id);
    this.#families.delete(id);
    // A result has the type of its query; what `ended` resolves with is no object.
    if (typeof result !== 'object') return undefined;
    return (name === 'metrics' ? families : result) as QueryResults[Name];
  }

  /**
   * Prepares a change, of which nothing is in use before {@link commit}.
   *
   * @returns the listeners that it has then
   * @throws the error of the worker, which goes on as before; also when it ends meanwhile
   */
  async prepare(change: WorkerChange): Promise<readonly ListenerStatus[]> {
    const prepared = new Promise<Prepared>((resolve) => (this.#onPrepared = resolve));
    this.send({ kind: 'prepare', change });
    const response = Promise.race([prepared, this.ended]);
    if (!(await settlesWithin(response, RESPONSE_MS))) throw new Error(`${this.name} ${NO_RESPONSE}`);
    const answer = await response;
    if (typeof answer !== 'object') throw new Error(answer ?? `${this.name} has ended`);
    if (answer.failure !== undefined) throw startError(answer.failure);
    return answer.listeners;
  }

  /** Gives it sockets that the next change needs. */
  inherit(opened: readonly OpenedSocket[]): void {
    for (const { name, endpoint, shared } of opened) this.send({ kind: 'inherit', name, endpoint }, shared.handle);
  }

  /** Resolves when what was prepared is in use, or it has ended: one that does not respond is killed, and its successor begins so. */
  async commit(): Promise<void> {
    const committed = new Promise<void>((resolve) => (this.#onCommitted = resolve));
    this.send({ kind: 'commit' });
    if (await settlesWithin(Promise.race([committed, this.ended]), RESPONSE_MS)) return;
    this.kill();
    await this.ended;
  }

  /** Ends it at once, with its connections. */
  kill(): void {
    this.#worker.process.kill('SIGKILL');
  }

  /** Kills an idle worker on purpose: its exit is not reported as a failure. */
  discard(): void {
    this.#isDiscarded = true;
    this.kill();
  }

  #receive(
    message: Exclude<FromWorker, { readonly kind: 'socket' }>,
    startOf: (idPrefix: string) => WorkerStart,
  ): void {
    if (this.#phase === 'starting') this.#startTimer.refresh();
    switch (message.kind) {
      case 'loaded':
        return this.#startWorker(startOf(`${this.#worker.id}-`));
      case 'acknowledged':
        return this.#onAcknowledged();
      case 'started':
        this.#phase = 'listening';
        clearTimeout(this.#startTimer);
        return this.#onStarted();
      case 'failed':
        return this.#onStarted(startError(message.failure));
      case 'failing':
        this.#phase = 'leaving';
        return this.#onLost(`${this.name} had an uncaught exception: ${message.reason}`);
      case 'state':
        this.#state = message.state;
        return;
      case 'families':
        this.#families.get(message.id)?.push(...message.families);
        return;
      case 'result':
        return this.#pending.get(message.id)?.(message.result);
      case 'drained':
        return this.#onDrained(message.progress);
      case 'prepared':
        return this.#onPrepared(message);
      case 'committed':
        return this.#onCommitted();
      case 'sockets':
        return this.#onSockets();
      default:
        message satisfies never;
    }
  }

  /** The sockets that it listens on, each with a descriptor in this process, to be closed by the caller. One that hangs has none. */
  async sockets(): Promise<readonly ReceivedSocket[]> {
    this.#received.splice(0);
    const all = new Promise<void>((resolve) => (this.#onSockets = resolve));
    this.send({ kind: 'sockets' });
    const isWhole = await settlesWithin(Promise.race([all, this.ended]), RESPONSE_MS);
    const received = this.#received.splice(0);
    if (isWhole) return received;
    for (const { handle } of received) handle.close();
    return [];
  }

  #startWorker({ plan, snapshots, marks }: WorkerStart): void {
    this.send({ kind: 'start', plan: { ...plan, sockets: this.#sockets } });
    this.send({ kind: 'health', marks });
    this.#feed = new RouteFeed((part) => {
      this.send({ kind: 'routes', part });
      return new Promise((resolve) => (this.#onAcknowledged = resolve));
    });
    for (const [source, snapshot] of snapshots) this.#feed.offer(source, snapshot);
  }

  /** It hangs, in a plugin for example. */
  #onStuck(): void {
    this.#onStarted(new Error(`${this.name} made no progress for ${START_PROGRESS_MS / 1_000} s while it started`));
    this.kill();
  }

  #end(code: number | null, signal: string | null): void {
    clearTimeout(this.#startTimer);
    const how = signal === null ? `exited with status ${code}` : `was killed by ${signal}`;
    const reason = `${this.name} ${how}`;
    this.#phase = 'ended';
    this.#state = { listeners: [], ejected: [], troubles: [] };
    this.#onStarted(new Error(reason));
    this.#onLost(reason);
    this.#onDrained();
    this.#onEnded(code === 0 || this.#isDiscarded ? undefined : reason);
  }
}
