import { setImmediate as nextTurn } from 'node:timers/promises';
import { formatEndpoint } from '@meshgate/core';
import { withListen } from '@meshgate/core/parts';
import type { ListenAddress, Observer, ProxyEvent, RouteSnapshot, Transport } from '@meshgate/core';
import { composeCarrier } from '../run/compose.ts';
import type { Carrier } from '../run/compose.ts';
import { closeLog, openLog, withLogger } from '../log/logger.ts';
import type { Log } from '../log/logger.ts';
import type { Parts } from '../config/parts.ts';
import { installPlugins } from '../config/plugins.ts';
import { builtInTransports, chooseTransport } from '../run/transport-choice.ts';
import { connectionView } from '../admin/views.ts';
import { startFailure } from './messages.ts';
import type { Answers, FromWorker, Question, ToWorker, WorkerPlan, WorkerState } from './messages.ts';
import { ReplaySource } from './replay-source.ts';
import { RouteIntake } from './route-feed.ts';
import type { RoutesPart } from './route-feed.ts';
import { workerObserver } from './worker-observer.ts';

/** How a worker speaks to its primary. */
export interface PrimaryChannel {
  /** Resolves when the system has it. */
  tell(message: FromWorker): Promise<void>;
}

/** 0: told to leave, and did. 1: it could not begin, or something in it was broken. */
export type WorkerStatus = 0 | 1;

/** A process that carries connections and does as the primary says. */
export class WorkerRun {
  /** Resolves when the process may end. */
  readonly ended: Promise<WorkerStatus>;
  readonly #primary: PrimaryChannel;
  #end: (status: WorkerStatus) => void = () => undefined;
  readonly #intake = new RouteIntake();
  #relays: Relays | undefined;
  #began: Began | undefined;
  #status: WorkerStatus = 0;
  #draining: Promise<void> | undefined;

  constructor(primary: PrimaryChannel) {
    this.#primary = primary;
    this.ended = new Promise((resolve) => (this.#end = resolve));
  }

  hear(message: ToWorker): void {
    switch (message.kind) {
      case 'begin':
        this.#relays = relaysOf(message.plan);
        return void this.#begin(message.plan, this.#relays);
      case 'routes':
        return void this.#take(message.part);
      case 'addresses':
        return this.#relays?.listeners.get(message.source)?.tell(message.addresses);
      case 'ask':
        return void this.#answer(message.ask, message.question);
      case 'drain':
        return void this.#drain();
      case 'force':
        return this.#began?.carrier.gateway.force();
      case 'stop':
        return void this.#stop();
      default:
        message satisfies never;
    }
  }

  /** The primary is gone, and with it everybody who could say anything: connections may finish, then nothing is left to do. */
  onOrphaned(): void {
    if (this.#began === undefined) return this.#end(1);
    this.#status = 1;
    this.#began.log.logger.error('the primary is gone: draining');
    void this.#drain().then(() => this.#stop());
  }

  /** As in a process of its own: a bug ends the worker, but lets its connections finish first. */
  onStray(thrown: Error, kind: 'exception' | 'rejection'): void {
    if (this.#began === undefined) return void this.#fail(thrown);
    this.#began.carrier.gateway.report(thrown);
    if (kind === 'rejection') return;
    this.#status = 1;
    void this.#primary.tell({ kind: 'failing', reason: thrown.message });
    void this.#drain().then(() => this.#stop());
  }

  async #begin(plan: WorkerPlan, relays: Relays): Promise<void> {
    try {
      const began = await compose(plan, relays, (state) => void this.#primary.tell({ kind: 'state', state }));
      // One that does not know all routes yet would turn clients away that others serve.
      await Promise.all(Array.from(relays.routes.values(), ({ firstSnapshot }) => firstSnapshot));
      await began.carrier.gateway.start(new AbortController().signal);
      this.#began = began;
      await this.#primary.tell({ kind: 'begun' });
    } catch (reason) {
      await this.#fail(reason);
    }
  }

  async #take(part: RoutesPart): Promise<void> {
    const snapshot = this.#intake.take(part);
    if (snapshot !== undefined) this.#relays?.routes.get(part.source)?.tell(snapshot);
    // Not at once: the next part could come before everybody else has had a turn.
    await nextTurn();
    await this.#primary.tell({ kind: 'taken' });
  }

  async #fail(reason: unknown): Promise<void> {
    await this.#primary.tell({ kind: 'failed', failure: startFailure(reason) });
    this.#end(1);
  }

  async #answer(ask: number, question: Question): Promise<void> {
    const answer = this.#began && (await ANSWERS[question](this.#began));
    await this.#primary.tell({ kind: 'answer', ask, answer });
  }

  #drain(): Promise<void> {
    this.#draining ??= this.#began?.carrier.gateway.drain().then((progress) => {
      return this.#primary.tell({ kind: 'drained', progress });
    });
    return this.#draining ?? Promise.resolve();
  }

  async #stop(): Promise<void> {
    if (this.#began !== undefined) {
      const { carrier, log } = this.#began;
      await carrier.gateway.stop(new AbortController().signal).catch((reason: unknown) => {
        this.#status = 1;
        log.logger.error({ err: reason }, 'not stopped cleanly');
      });
      await closeLog(log);
    }
    this.#end(this.#status);
  }
}

/** The sources of a worker: what the primary tells it, by the names of those that said it. */
interface Relays {
  readonly routes: ReadonlyMap<string, ReplaySource<RouteSnapshot>>;
  readonly listeners: ReadonlyMap<string, ReplaySource<readonly ListenAddress[]>>;
}

function relaysOf({ sources, listenerSources }: WorkerPlan): Relays {
  return {
    routes: new Map(sources.map((source) => [source, new ReplaySource(source)])),
    listeners: new Map(listenerSources.map(({ source, addresses }) => [source, told(source, addresses)])),
  };
}

function told<Word>(name: string, word: Word): ReplaySource<Word> {
  const relay = new ReplaySource<Word>(name);
  relay.tell(word);
  return relay;
}

/** A worker that listens. */
interface Began {
  readonly plan: WorkerPlan;
  readonly carrier: Carrier;
  readonly log: Log;
}

async function compose(plan: WorkerPlan, relays: Relays, onState: (state: WorkerState) => void): Promise<Began> {
  const { config, idPrefix, limits, listeners, uses, baseDir } = plan;
  const installed = await installPlugins(uses, { baseDir, process: 'worker' });
  const [problem] = installed.problems;
  if (problem !== undefined) throw new Error(problem.message);
  const opened = await openLog(config.log, { ...plan.log, isShared: true, onTrouble: () => state.report() });
  const log = withLogger(opened, opened.logger.child({ worker: idPrefix.slice(0, -1) }));
  const state = new ReportedState(
    () => ({ listeners: carrier.listeners.status, logTrouble: log.health.trouble }),
    onState,
  );
  const carrier = composeCarrier({ ...config, listeners }, partsOf(installed.parts, relays, state), {
    log,
    transport: await transportOf(plan, installed.parts),
    limits,
    leave: () => undefined,
    tell: (observer) => workerObserver(idPrefix, observer),
  });
  return { plan, carrier, log };
}

/** Of what plugins add, the primary has the sources, the services that run once, and the admin paths. */
function partsOf(parts: Parts, relays: Relays, state: Observer): Parts {
  return {
    ...parts,
    sources: [...relays.routes.values()],
    listenerSources: [...relays.listeners.values()],
    services: [],
    observers: [state, ...parts.observers],
  };
}

async function transportOf({ transport, config, reusePort }: WorkerPlan, { transports }: Parts): Promise<Transport> {
  const choice = await chooseTransport(transport, transports, builtInTransports(config.transport.splice));
  if (choice.kind === 'none') throw new Error(choice.reason);
  const chosen = choice.transport;
  if (!reusePort) return chosen;
  return withListen(
    chosen,
    (listen) => (at, options, onConnection) => listen(at, { ...options, reusePort: true }, onConnection),
  );
}

/** Tells the primary what it keeps in mind of this worker, whenever that has changed. */
class ReportedState implements Observer {
  readonly name = 'state';
  readonly #ejected = new Set<string>();
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
    this.#onState({ ...this.#rest(), ejected: [...this.#ejected] });
  }
}

const ANSWERS: { readonly [Asked in Question]: (began: Began) => Answers[Asked] | Promise<Answers[Asked]> } = {
  connections: ({ carrier, plan }) => {
    const now = performance.now();
    return carrier.sessions.live().map((live) => {
      const view = connectionView(live, now);
      return { ...view, id: plan.idPrefix + view.id };
    });
  },
  progress: ({ carrier }) => carrier.drain.progress,
  metrics: ({ carrier }) => carrier.registry.getMetricsAsJSON(),
};
