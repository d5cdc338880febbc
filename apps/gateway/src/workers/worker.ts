import { setImmediate as nextTurn } from 'node:timers/promises';
import { formatEndpoint } from '@meshgate/core';
import { BackendHealth, Cell, inheritedHandle, withListen } from '@meshgate/core/parts';
import type { DrainReason, PreparedChange } from '@meshgate/core/parts';
import type { ListenAddress, Observer, ProxyEvent, RouteSnapshot, Transport } from '@meshgate/core';
import { composeCarrier } from '../run/compose.ts';
import { InheritedSockets } from '../run/inherited-sockets.ts';
import { NO_CONTROL } from '../run/process-control.ts';
import type { Carrier } from '../run/compose.ts';
import { closeLog, openLog, withLogger } from '../log/logger.ts';
import type { Log } from '../log/logger.ts';
import { familyParts } from '@meshgate/metrics';
import { logMessage } from '../log/messages.ts';
import type { InstalledParts } from '../config/parts.ts';
import { redirectConsole } from '../run/plugin-limits.ts';
import { installPlugins } from '../config/plugins.ts';
import { builtInTransports, chooseTransport } from '../run/transport-choice.ts';
import { watchStalls } from '../run/stalls.ts';
import { trafficOf } from '../admin/traffic.ts';
import type { LogLevel } from '../config/config-schema.ts';
import { closeConnections } from '../admin/connection-query.ts';
import type { ConnectionQuery } from '../admin/connection-query.ts';
import { connectionsView } from '../admin/views.ts';
import { startFailure } from './messages.ts';
import type {
  QueryResults,
  FromWorker,
  QueryName,
  ToWorker,
  WorkerChange,
  WorkerPlan,
  WorkerState,
} from './messages.ts';
import { RouteIntake } from './route-feed.ts';
import type { RoutesPart } from './route-feed.ts';
import { workerObserver } from './worker-observer.ts';

/** The channel from a worker to its primary. */
export interface PrimaryChannel {
  /** Sends a message. Resolves when it is sent. */
  send(message: FromWorker, handle?: unknown): Promise<void>;
}

/** 0: stopped by the primary. 1: could not start, or had an uncaught exception. */
export type WorkerStatus = 0 | 1;

/** A worker process, which carries connections under a primary. */
export class WorkerRun {
  /** Resolves when the process may exit. */
  readonly ended: Promise<WorkerStatus>;
  readonly #primary: PrimaryChannel;
  #end: (status: WorkerStatus) => void = () => undefined;
  readonly #intake = new RouteIntake();
  readonly #health = new BackendHealth();
  #sources: ReceivedSources | undefined;
  #sockets = new InheritedSockets();
  #prepared: PreparedWorker | undefined;
  #started: StartedWorker | undefined;
  #status: WorkerStatus = 0;
  #draining: Promise<void> | undefined;
  /** The last log level that was set, possibly before the worker has started. */
  #logLevel: LogLevel | undefined;

  constructor(primary: PrimaryChannel) {
    this.#primary = primary;
    this.ended = new Promise((resolve) => (this.#end = resolve));
  }

  /**
   * Handles a message.
   *
   * @param handle socket sent with the message; it is never closed, because it owns the descriptor
   */
  receive(message: ToWorker, handle?: { readonly fd: number }): void {
    switch (message.kind) {
      case 'start':
        this.#sources = sourcesOf(message.plan);
        this.#sockets = new InheritedSockets(message.plan.sockets);
        return void this.#startWorker(message.plan, this.#sources);
      case 'routes':
        return void this.#take(message.part);
      case 'addresses':
        return this.#sources?.listeners.get(message.source)?.cell.set(message.addresses);
      case 'inherit': {
        const { name, endpoint } = message;
        if (handle !== undefined)
          this.#sockets.add({ kind: 'listener', name, endpoint, fd: handle.fd, isShared: true });
        return;
      }
      case 'prepare':
        return void this.#prepare(message.change);
      case 'commit':
        return void this.#commit().catch((reason: unknown) => this.#fail(reason));
      case 'discard':
        return void this.#discard();
      case 'health':
        for (const mark of message.marks) this.#health.mark(mark);
        return;
      case 'query':
        return void this.#respond(message.id, message.name, message.argument);
      case 'drain':
        return void this.#drain(message.why);
      case 'sockets':
        return void this.#sendSockets();
      case 'log level':
        this.#logLevel = message.level;
        if (this.#started !== undefined) this.#started.log.logger.level = message.level;
        return;
      case 'force':
        return this.#started?.carrier.gateway.force();
      case 'stop':
        return void this.#stop();
      default:
        message satisfies never;
    }
  }

  /** Handles the exit of the primary: connections may finish, then the worker exits. */
  onOrphaned(): void {
    if (this.#started === undefined) return this.#end(1);
    this.#status = 1;
    logMessage(this.#started.log.logger, 'primaryGone');
    void this.#drain().then(() => this.#stop());
  }

  /**
   * Handles an uncaught error like a single process: an exception ends the worker, after its connections have finished.
   */
  onStray(thrown: Error, kind: 'exception' | 'rejection'): void {
    if (this.#started === undefined) return void this.#fail(thrown);
    this.#started.carrier.gateway.report(thrown);
    if (kind === 'rejection') return;
    this.#status = 1;
    void this.#primary.send({ kind: 'failing', reason: thrown.message });
    void this.#drain().then(() => this.#stop());
  }

  async #startWorker(plan: WorkerPlan, sources: ReceivedSources): Promise<void> {
    try {
      const onState = (state: WorkerState): void => void this.#primary.send({ kind: 'state', state });
      const started = await compose(plan, sources, { health: this.#health, sockets: this.#sockets, onState });
      const { signal } = new AbortController();
      // Without all routes, the worker would reject clients that other workers serve.
      await Promise.all(Array.from(sources.routes.values(), ({ cell }) => cell.changed(0, signal)));
      await started.carrier.gateway.start(signal);
      this.#started = started;
      if (this.#logLevel !== undefined) started.log.logger.level = this.#logLevel;
      await this.#primary.send({ kind: 'started' });
    } catch (reason) {
      await this.#fail(reason);
    }
  }

  async #take(part: RoutesPart): Promise<void> {
    const snapshot = this.#intake.take(part);
    if (snapshot !== undefined) this.#sources?.routes.get(part.source)?.cell.set(snapshot);
    // Lets other work run before the next part.
    await nextTurn();
    await this.#primary.send({ kind: 'acknowledged' });
  }

  /**
   * Prepares a change. The routes of a new source arrive only after the commit, and cannot fail: until then, the old
   * sources remain in use.
   */
  async #prepare({ config, limits, adminAt, listeners, ...names }: WorkerChange): Promise<void> {
    const [started, before] = [this.#started, this.#sources];
    if (started === undefined || before === undefined) return;
    const sources = receivedSources(names, before);
    const listenerSources = sourcesIn(sources.listeners);
    const parts = { ...started.parts, sources: sourcesIn(before.routes), listenerSources };
    try {
      const change = await started.carrier.gateway.prepare({
        config: { ...config, listeners },
        parts,
        limits,
        adminAt,
      });
      this.#prepared = { change, sources };
      await this.#primary.send({ kind: 'prepared', listeners: started.carrier.listeners.prepared });
    } catch (reason) {
      await this.#primary.send({ kind: 'prepared', listeners: [], failure: startFailure(reason) });
    }
  }

  /** Discards a change, even one that was not prepared: another listener of the same change could not be opened. */
  async #discard(): Promise<void> {
    await this.#prepared?.change.discard();
    this.#prepared = undefined;
    this.#sockets.forgetUnclaimed();
  }

  async #commit(): Promise<void> {
    const [started, prepared] = [this.#started, this.#prepared];
    if (started === undefined || prepared === undefined) return;
    const { sources, change } = prepared;
    this.#prepared = undefined;
    this.#sources = sources;
    const { signal } = new AbortController();
    await Promise.all(Array.from(sources.routes.values(), ({ cell }) => cell.changed(0, signal)));
    const routes = await started.carrier.routes.prepare(sourcesIn(sources.routes));
    // In this order, because the prepared change still has the old sources.
    const changed = change.commit();
    await Promise.all([routes.commit(), changed]);
    await this.#primary.send({ kind: 'committed' });
  }

  async #fail(reason: unknown): Promise<void> {
    await this.#primary.send({ kind: 'failed', failure: startFailure(reason) });
    this.#end(1);
  }

  async #respond(id: number, name: QueryName, argument: ConnectionQuery = {}): Promise<void> {
    // Sends metrics in parts, since a single response for thousands of routes would block both processes.
    if (name === 'metrics' && this.#started !== undefined)
      for await (const family of familyParts(this.#started.carrier.registry))
        await this.#primary.send({ kind: 'families', id, families: [family] });
    const result = this.#started && (await QUERIES[name](this.#started, argument));
    await this.#primary.send({ kind: 'result', id, result });
  }

  async #sendSockets(): Promise<void> {
    for (const { name, endpoint, fd, handle = inheritedHandle(fd) } of this.#started?.carrier.listeners.sockets ?? [])
      await this.#primary.send({ kind: 'socket', name, endpoint }, handle);
    await this.#primary.send({ kind: 'sockets' });
  }

  #drain(why?: DrainReason): Promise<void> {
    this.#draining ??= this.#started?.carrier.gateway.drain(why).then((progress) => {
      return this.#primary.send({ kind: 'drained', progress });
    });
    return this.#draining ?? Promise.resolve();
  }

  async #stop(): Promise<void> {
    if (this.#started !== undefined) {
      const { carrier, log } = this.#started;
      await carrier.gateway.stop(new AbortController().signal).catch((reason: unknown) => {
        this.#status = 1;
        logMessage(log.logger, 'shutdownIncomplete', { reason: messageOf(reason) }, { err: reason });
      });
      await closeLog(log);
    }
    this.#end(this.#status);
  }
}

/** Snapshots and addresses from the primary, by the name of the source. */
interface ReceivedSources {
  readonly routes: ReadonlyMap<string, Received<RouteSnapshot>>;
  readonly listeners: ReadonlyMap<string, Received<readonly ListenAddress[]>>;
}

/** The input from the primary for a source, and the local source that follows it. */
interface Received<T> {
  readonly cell: Cell<T>;
  readonly source: { readonly name: string; readonly watch: Cell<T>['watch'] };
}

interface SourceNames {
  readonly sources: readonly string[];
  readonly listenerSources: readonly string[];
}

/** @param before existing inputs, which are kept */
function receivedSources({ sources, listenerSources }: SourceNames, before?: ReceivedSources): ReceivedSources {
  return { routes: receiving(sources, before?.routes), listeners: receiving(listenerSources, before?.listeners) };
}

function receiving<T>(
  names: readonly string[],
  before: ReadonlyMap<string, Received<T>> = new Map(),
): ReadonlyMap<string, Received<T>> {
  return new Map(names.map((name) => [name, before.get(name) ?? received<T>(name)]));
}

function received<T>(name: string): Received<T> {
  const cell = new Cell<T>();
  return { cell, source: { name, watch: (signal) => cell.watch(signal) } };
}

function sourcesIn<T>(all: ReadonlyMap<string, Received<T>>): readonly Received<T>['source'][] {
  return Array.from(all.values(), ({ source }) => source);
}

function sourcesOf({ sources, listenerSources }: WorkerPlan): ReceivedSources {
  const all = receivedSources({ sources, listenerSources: listenerSources.map(({ source }) => source) });
  for (const { source, addresses } of listenerSources) all.listeners.get(source)?.cell.set(addresses);
  return all;
}

/** A prepared change that is not committed yet. */
interface PreparedWorker {
  readonly change: PreparedChange;
  readonly sources: ReceivedSources;
}

/** A worker that listens. */
interface StartedWorker {
  readonly carrier: Carrier;
  readonly parts: InstalledParts;
  readonly log: Log;
}

/** Parts of a worker before its composition. */
interface WorkerParts {
  readonly health: BackendHealth;
  readonly sockets: InheritedSockets;
  onState(state: WorkerState): void;
}

async function compose(
  plan: WorkerPlan,
  sources: ReceivedSources,
  { health, sockets, onState }: WorkerParts,
): Promise<StartedWorker> {
  const { config, idPrefix, limits, share, adminAt, listeners, uses, baseDir } = plan;
  const installed = await installPlugins(uses, { baseDir, process: 'worker' });
  const [problem] = installed.problems;
  if (problem !== undefined) throw new Error(problem.message);
  const opened = await openLog(config.log, { ...plan.log, isShared: true, onTrouble: () => state.report() });
  redirectConsole((output) => logMessage(opened.logger, 'printed', { output }));
  const log = withLogger(opened, opened.logger.child({ worker: idPrefix.slice(0, -1) }));
  const state = new ReportedState(
    () => ({
      listeners: carrier.listeners.status,
      logTrouble: log.health.trouble,
      troubles: carrier.troubles.warnings,
    }),
    onState,
  );
  const parts = partsOf(installed.parts, sources, state);
  const carrier = composeCarrier({ ...config, listeners }, parts, {
    log,
    transport: await transportOf(plan, installed.parts),
    limits,
    share,
    adminAt,
    idPrefix,
    health,
    shutDown: () => undefined,
    control: NO_CONTROL,
    origin: { sockets, predecessor: undefined },
    wrapObserver: workerObserver,
  });
  setInterval(() => state.reportTroubles(), TROUBLES_EVERY_MS).unref();
  watchStalls(log.logger);
  return { carrier, parts, log };
}

/** Returns the parts of plugins for a worker: sources, single-instance services and admin paths run in the primary. */
function partsOf(parts: InstalledParts, sources: ReceivedSources, state: Observer): InstalledParts {
  return {
    ...parts,
    sources: sourcesIn(sources.routes),
    listenerSources: sourcesIn(sources.listeners),
    services: [],
    observers: [state, ...parts.observers],
  };
}

async function transportOf(
  { transport, config, reusePort }: WorkerPlan,
  { transports }: InstalledParts,
): Promise<Transport> {
  const choice = await chooseTransport(transport, transports, builtInTransports(config.transport.splice));
  if (choice.kind === 'none') throw new Error(choice.reason);
  const chosen = choice.transport;
  if (!reusePort) return chosen;
  return withListen(
    chosen,
    (listen) => (at, options, onConnection) => listen(at, { ...options, reusePort: true }, onConnection),
  );
}

/** Sends the state of this worker to the primary at each change. */
class ReportedState implements Observer {
  readonly name = 'state';
  readonly #ejected = new Set<string>();
  #troubles = '';
  readonly #rest: () => Omit<WorkerState, 'ejected'>;
  readonly #onState: (state: WorkerState) => void;

  constructor(rest: () => Omit<WorkerState, 'ejected'>, onState: (state: WorkerState) => void) {
    this.#rest = rest;
    this.#onState = onState;
  }

  observe(event: ProxyEvent): void {
    if (event.type === 'backend.ejected') this.#ejected.add(formatEndpoint(event.address));
    else if (event.type === 'backend.returned') this.#ejected.delete(formatEndpoint(event.address));
    else if (event.type !== 'listener.opened' && event.type !== 'listener.closed') return;
    this.report();
  }

  report(): void {
    const rest = this.#rest();
    this.#troubles = rest.troubles.join();
    this.#onState({ ...rest, ejected: [...this.#ejected] });
  }

  /** Reports a shortage that has cleared: it appears with an event, but clears without one. */
  reportTroubles(): void {
    if (this.#rest().troubles.join() !== this.#troubles) this.report();
  }
}

const TROUBLES_EVERY_MS = 1_000;

const QUERIES: {
  readonly [Name in QueryName]: (
    started: StartedWorker,
    argument: ConnectionQuery,
  ) => QueryResults[Name] | Promise<QueryResults[Name]>;
} = {
  connections: ({ carrier }) => connectionsView(carrier.sessions.live()),
  progress: ({ carrier }) => carrier.drain.progress,
  // Already sent in parts.
  metrics: () => [],
  traffic: ({ carrier }) => trafficOf(carrier.registry),
  held: ({ carrier }) => carrier.failover.held,
  close: async ({ carrier }, query) => ({ closed: await closeConnections(carrier.sessions, query) }),
};

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
