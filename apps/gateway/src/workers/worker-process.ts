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

/** The state of a worker. `leaving`: it drains after an uncaught exception. */
export type WorkerPhase = 'starting' | 'listening' | 'leaving' | 'ended';

type Prepared = Extract<FromWorker, { readonly kind: 'prepared' }>;

/** Descriptors that a worker process inherits. */
export interface Inherited {
  /** Descriptor of the log, which is {@link WORKER_LOG_FD} in the worker. */
  readonly logFd: number;
  readonly sockets: readonly InheritedSocket[];
}

/** A socket of a worker, as Node transfers it. */
export interface ReceivedSocket {
  readonly name: string;
  readonly endpoint: Endpoint;
  readonly handle: SocketHandle;
}

interface SocketHandle {
  readonly fd: number;
  close(): void;
}

/** The state with which a worker starts. */
export interface WorkerStart {
  readonly plan: Omit<WorkerPlan, 'sockets'>;
  /** The last snapshot of each route source. */
  readonly snapshots: ReadonlyMap<string, RouteSnapshot>;
  /** Health check results so far. */
  readonly marks: readonly HealthMark[];
}

const MAIN = fileURLToPath(new URL('main.js', import.meta.url));

/** Descriptor of the log in a worker. */
export const WORKER_LOG_FD = 4;

/**
 * Keeps the log separate from the worker's standard outputs: libuv makes inherited standard streams blocking in all
 * processes that share them, before a spawn and again when Node exits.
 */
function stdioOf(logFd: number, sockets: readonly InheritedSocket[]): (string | number)[] {
  return ['ignore', 'pipe', 'pipe', 'ipc', logFd, ...sockets.map(({ fd }) => fd)];
}

/** Returns the sockets with their descriptors in the worker. */
function asInherited(sockets: readonly InheritedSocket[]): readonly InheritedSocket[] {
  return sockets.map(({ kind, name, endpoint, isShared = false }, index) => {
    return { kind, name, endpoint, isShared, fd: WORKER_LOG_FD + 1 + index };
  });
}

/**
 * Loading takes a second, and each part of the route table is acknowledged: a longer silence means that the worker
 * hangs.
 */
const START_PROGRESS_MS = 20_000;

/** A healthy worker responds within milliseconds: a longer silence means that it hangs. */
const RESPONSE_MS = 20_000;
const NO_RESPONSE = `did not respond within ${RESPONSE_MS / 1_000} s`;

/** A worker as the primary sees it, from fork to exit. */
export class WorkerProcess {
  /**
   * Resolves when the worker listens, or with the reason when it never will: it has failed, exited, or made no progress
   * in time.
   */
  readonly started: Promise<Error | undefined>;
  /** Resolves with the reason when the worker stops accepting connections without a request. */
  readonly lost: Promise<string>;
  /** Resolves when the process has exited, with the reason after a failure. */
  readonly ended: Promise<string | undefined>;
  /** Resolves when the worker has no connections left, with the final counts unless it died. */
  readonly drained: Promise<DrainProgress | undefined>;
  readonly #worker: Worker;
  #onPrepared: (message: Prepared) => void = () => undefined;
  #onCommitted: () => void = () => undefined;
  #onSockets: () => void = () => undefined;
  readonly #sockets: readonly InheritedSocket[];
  readonly #received: ReceivedSocket[] = [];
  readonly #pending = new Map<number, (result: QueryResults[QueryName] | undefined) => void>();
  /** Received parts of pending metrics queries. */
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

  /** @param startOf called once, when the worker can receive */
  constructor(inherits: Inherited, startOf: (idPrefix: string) => WorkerStart) {
    this.#sockets = asInherited(inherits.sockets);
    this.started = new Promise((resolve) => (this.#onStarted = resolve));
    this.lost = new Promise((resolve) => (this.#onLost = resolve));
    this.ended = new Promise((resolve) => (this.#onEnded = resolve));
    this.drained = new Promise((resolve) => (this.#onDrained = resolve));
    // Each worker accepts by itself. With the other policy, in which the primary accepts and distributes, connections
    // in transit to a worker that dies are lost: they are never closed, and their clients hang.
    cluster.schedulingPolicy = cluster.SCHED_NONE;
    cluster.setupPrimary({
      exec: MAIN,
      args: [],
      serialization: 'advanced',
      stdio: stdioOf(inherits.logFd, inherits.sockets),
    });
    this.#worker = cluster.fork();
    // Output of plugins, and of Node when it crashes.
    this.#worker.process.stdout?.on('data', (chunk: Buffer) => process.stdout.write(chunk));
    this.#worker.process.stderr?.on('data', (chunk: Buffer) => process.stderr.write(chunk));
    // A message that cannot be delivered is followed by the exit of the process, which is reported.
    this.#worker.on('error', () => undefined);
    this.#worker.on('message', (message: FromWorker, handle: unknown) => {
      if (message.kind === 'socket') this.#received.push({ ...message, handle: handle as SocketHandle });
      else this.#receive(message, startOf);
    });
    this.#worker.on('exit', (code, signal) => this.#end(code, signal));
    this.#startTimer = setTimeout(() => this.#onStuck(), START_PROGRESS_MS);
  }

  /** Name in messages: `worker 2 (pid 4711)`. */
  get name(): string {
    return `worker ${this.#worker.id} (pid ${this.#worker.process.pid ?? 'none'})`;
  }

  get phase(): WorkerPhase {
    return this.#phase;
  }

  get state(): WorkerState {
    return this.#state;
  }

  /** Sends a message. @param handle socket to send with the message */
  send(message: ToWorker, handle?: object): void {
    if (this.#worker.isConnected()) this.#worker.send(message, handle as SendHandle | undefined);
  }

  /** Sends new routes of `source`. No effect before the worker can receive, since it starts with the current routes. */
  offer(source: string, snapshot: RouteSnapshot): void {
    this.#feed?.offer(source, snapshot);
  }

  /** Sends new addresses to listen on. */
  listen(list: NamedAddresses): void {
    this.send({ kind: 'addresses', ...list });
  }

  /** Sends health check results. */
  mark(marks: readonly HealthMark[]): void {
    if (this.#feed !== undefined) this.send({ kind: 'health', marks });
  }

  /**
   * Queries the worker. Returns `undefined` when it does not respond in time; for a result in parts, when the next part
   * does not arrive in time.
   */
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
    // The result has the type of its query; `ended` never resolves with an object.
    if (typeof result !== 'object') return undefined;
    return (name === 'metrics' ? families : result) as QueryResults[Name];
  }

  /**
   * Prepares a change, which takes effect at {@link commit}.
   *
   * @returns the listeners after the change
   * @throws the worker's error, with nothing changed; also when the worker exits before it responds
   */
  async prepare(change: WorkerChange): Promise<readonly ListenerStatus[]> {
    const prepared = new Promise<Prepared>((resolve) => (this.#onPrepared = resolve));
    this.send({ kind: 'prepare', change });
    const response = Promise.race([prepared, this.ended]);
    if (!(await settlesWithin(response, RESPONSE_MS))) throw new Error(`${this.name} ${NO_RESPONSE}`);
    const result = await response;
    if (typeof result !== 'object') throw new Error(result ?? `${this.name} has ended`);
    if (result.failure !== undefined) throw startError(result.failure);
    return result.listeners;
  }

  /** Sends sockets that the next change needs. */
  inherit(opened: readonly OpenedSocket[]): void {
    for (const { name, endpoint, shared } of opened) this.send({ kind: 'inherit', name, endpoint }, shared.handle);
  }

  /**
   * Resolves when the prepared change is in use, or the worker has exited: an unresponsive one is killed, and its
   * replacement starts with the change.
   */
  async commit(): Promise<void> {
    const committed = new Promise<void>((resolve) => (this.#onCommitted = resolve));
    this.send({ kind: 'commit' });
    if (await settlesWithin(Promise.race([committed, this.ended]), RESPONSE_MS)) return;
    this.kill();
    await this.ended;
  }

  /** Kills the worker, with its connections. */
  kill(): void {
    this.#worker.process.kill('SIGKILL');
  }

  /** Kills an idle worker on purpose, without reporting its exit as a failure. */
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

  /**
   * Returns the worker's listening sockets, each with a descriptor in this process that the caller must close. None
   * when the worker hangs.
   */
  async sockets(): Promise<readonly ReceivedSocket[]> {
    this.#received.splice(0);
    const all = new Promise<void>((resolve) => (this.#onSockets = resolve));
    this.send({ kind: 'sockets' });
    const isComplete = await settlesWithin(Promise.race([all, this.ended]), RESPONSE_MS);
    const received = this.#received.splice(0);
    if (isComplete) return received;
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

  /** Kills a worker that hangs, for example in a plugin. */
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
