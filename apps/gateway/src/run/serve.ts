import { resolve } from 'node:path';
import { formatProblem, pause } from '@meshgate/core';
import { aborted, errorOf, settlesWithin, unlessAborted } from '@meshgate/core/parts';
import type { Amend } from '../config/amend-config.ts';
import { bindFailure } from './bind-failure.ts';
import { compose } from './compose.ts';
import { forbidCoreDumps } from './core-dumps.ts';
import type { Readiness } from '../admin/readiness.ts';
import type { Gateway, HeldByProcess } from './gateway.ts';
import { loadConfig } from '../config/load-config.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import { appendTogether } from './append-mode.ts';
import { closeLog, openLog } from '../log/logger.ts';
import type { Log, Logger, LogTarget } from '../log/logger.ts';
import { logMessage } from '../log/messages.ts';
import { thisMachine } from './machine.ts';
import { ReadinessLog } from './readiness-log.ts';
import { originOf } from './predecessor.ts';
import type { ProcessOrigin } from './predecessor.ts';
import type { ProcessControl, ReloadOutcome, UpgradeOutcome } from './process-control.ts';
import { redirectConsole } from './plugin-limits.ts';
import { watchStalls } from './stalls.ts';
import { SocketStore } from './socket-store.ts';
import type { StrayKind } from './stray-error.ts';
import { serviceManager } from './service-manager.ts';
import type { ServiceManager } from './service-manager.ts';
import { startSuccessor } from './successor.ts';
import { Reloader } from './reload.ts';
import { VERSION } from '../cli/version.ts';
import { composePrimary } from '../workers/primary.ts';
import type { FlatSettings } from './reload-plan.ts';
import { sharesOf } from '../workers/shares.ts';
import type { Shares } from '../workers/shares.ts';

/** Signals and uncaught errors of the process. Each may occur any number of times. */
export interface Signals {
  /** SIGTERM, SIGINT. */
  onStop(listener: () => void): void;
  /** SIGHUP. */
  onReload(listener: () => void): void;
  /** SIGUSR2. */
  onUpgrade(listener: () => void): void;
  /** An uncaught exception, or an unhandled rejection. */
  onStray(listener: (error: Error, kind: StrayKind) => void): void;
}

/** 0: stopped cleanly, nothing cut. 1: connections were cut, or a failure at run time. */
export type ServeStatus = 0 | 1;

/** Where the configuration comes from: a file, amendments, or both. */
export interface ConfigOrigin {
  readonly file: string | undefined;
  readonly amend: Amend;
  /**
   * No flag names `file`: it is used because it exists, in addition to settings of the command line or the environment.
   */
  readonly isFound?: boolean;
}

/**
 * Runs a gateway until it has drained and stopped, or has failed.
 *
 * @throws ConfigProblems when the configuration is invalid; nothing is started then
 */
export async function serve(origin: ConfigOrigin, target: LogTarget, signals: Signals): Promise<ServeStatus> {
  const { file, amend, isFound = false } = origin;
  const loaded = await loadConfig(file, amend);
  const proxy: RunningProxy = {
    loaded,
    isFound,
    composeWith: (around) => gatewayOf(loaded, around),
    loadAgain: (earlier) => loadConfig(file, amend, earlier),
  };
  return run(proxy, target, signals);
}

/** Inputs of a composition, besides the configuration. */
interface RunEnvironment {
  readonly log: Log;
  readonly target: LogTarget;
  readonly shares: Shares;
  readonly control: ProcessControl;
  readonly origin: ProcessOrigin;
  shutDown(): void;
}

/** A proxy to run, with its configuration. */
export interface RunningProxy {
  readonly loaded: LoadedConfig;
  /** See {@link ConfigOrigin}. */
  readonly isFound?: boolean;
  /** Composes the proxy. */
  composeWith(around: RunEnvironment): Gateway;
  /** Reads the configuration again. Rejects with `ConfigProblems` when it is invalid. */
  loadAgain(earlier: LoadedConfig): Promise<LoadedConfig>;
}

/** Runs a proxy until it has drained and stopped, or has failed. */
export async function run(proxy: RunningProxy, target: LogTarget, signals: Signals): Promise<ServeStatus> {
  const { config, file } = proxy.loaded;
  await appendTogether(target.fd);
  const log = await openLog(config.log, { ...target, isShared: config.workers !== 1 });
  redirectConsole((output) => logMessage(log.logger, 'printed', { output }));
  if (proxy.isFound === true && file !== undefined) logMessage(log.logger, 'configFound', { file: resolve(file) });
  const found = await serviceManager(process.env);
  if (found.kind === 'unreachable') logMessage(log.logger, 'serviceManagerUnreachable', { reason: found.reason });
  const whyDumped = await forbidCoreDumps();
  if (whyDumped !== undefined) logMessage(log.logger, 'coreDumpsPossible', { reason: whyDumped });
  // Removed, because a successor has another process id.
  delete process.env['WATCHDOG_PID'];
  const manager = found.kind === 'found' ? found.manager : undefined;
  const stopWatching = watchStalls(log.logger);
  const status = await new Run(proxy, { log, target, manager }).untilItEnds(signals);
  stopWatching();
  await closeLog(log);
  return status;
}

/** Composes a gateway that carries connections in this process, or in workers with this process as their primary. */
function gatewayOf(asLoaded: LoadedConfig, around: RunEnvironment): Gateway {
  const loaded = { ...asLoaded, config: around.origin.sockets.withInheritedPorts(asLoaded.config) };
  const { log, shares, control, origin, shutDown } = around;
  if (shares.count > 1) return composePrimary(loaded, around);
  const { transport } = loaded.transport;
  return compose(loaded.config, loaded.parts, { log, transport, limits: shares.total, control, origin, shutDown });
}

/** The log and the service manager of a run. */
interface RunTargets {
  readonly log: Log;
  readonly target: LogTarget;
  readonly manager: ServiceManager | undefined;
}

/** One proxy, from its start to its end. */
class Run {
  readonly #loaded: LoadedConfig;
  readonly #logger: Logger;
  readonly #shares: Shares;
  readonly #gateway: Gateway;
  readonly #reloader: Reloader;
  readonly #origin: ProcessOrigin;
  readonly #manager: ServiceManager | undefined;
  readonly #store: SocketStore | undefined;
  /** Settles when workers may be queried for their sockets again. */
  #querying: Promise<unknown> = Promise.resolve();
  #upgrading: Promise<UpgradeOutcome> | undefined;
  #isHandedOver = false;
  /** Aborts when the process must stop: by a signal, the admin API, or a bug. */
  readonly #leaving = new AbortController();
  /** Aborts at a second signal: stop without waiting. */
  readonly #forcing = new AbortController();
  #status: ServeStatus = 0;
  /** A signal stops the process; after a handover it exits by itself. */
  #isStopRequested = false;

  constructor({ loaded, composeWith, loadAgain }: RunningProxy, { log, target, manager }: RunTargets) {
    this.#loaded = loaded;
    this.#manager = manager;
    this.#logger = log.logger;
    this.#shares = sharesOf(loaded.config, thisMachine());
    this.#origin = originOf(process.env, loaded.config.listeners);
    this.#store = manager && new SocketStore(manager, this.#origin.sockets.unclaimed);
    const around = { log, target, shares: this.#shares, control: this.#control(), origin: this.#origin };
    this.#gateway = composeWith({ ...around, shutDown: () => this.#beginStop() });
    this.#reloader = new Reloader({ loaded, gateway: this.#gateway, logger: log.logger, loadAgain });
  }

  async untilItEnds(signals: Signals): Promise<ServeStatus> {
    signals.onStop(() => this.#beginStopOrForce());
    signals.onReload(() => void this.#reload());
    signals.onUpgrade(() => void this.#upgrade());
    signals.onStray((error, kind) => this.#onStray(error, kind));
    const readiness = this.#readinessLog();
    if ('KUBERNETES_SERVICE_HOST' in process.env && this.#loaded.config.drain.delayMs === 0)
      logMessage(this.#logger, 'noDrainDelay');
    for (const problem of this.#loaded.awaited)
      logMessage(this.#logger, 'fileAwaited', { problem: formatProblem(problem) });
    if (!(await this.#start())) return this.#status;
    readiness.startFinished();
    void this.#takeOver();
    void this.#storeSockets();
    await aborted(this.#leaving.signal);
    if (!this.#isHandedOver) this.#manager?.notify({ kind: 'stopping' });
    const { cut } = await this.#gateway.drain(this.#isHandedOver ? 'handover' : 'leaving');
    if (cut > 0) this.#status = 1;
    await this.#stop();
    return this.#status;
  }

  #control(): ProcessControl {
    const settings = (): FlatSettings => this.#reloader.settings;
    const { proxyId } = this.#loaded;
    return {
      ...(proxyId !== undefined && { proxyId }),
      get settings() {
        return settings();
      },
      reload: () => this.#reload(),
      upgrade: () => this.#upgrade(),
    };
  }

  async #reload(): Promise<ReloadOutcome> {
    if (this.#leaving.signal.aborted) return { kind: 'refused', problems: [DRAINING], isConfigWrong: false };
    this.#manager?.notify({ kind: 'reloading' });
    const outcome = await this.#reloader.reload();
    await this.#keepSockets();
    this.#manager?.notify({ kind: 'ready' });
    return outcome;
  }

  /** Runs one upgrade at a time. */
  #upgrade(): Promise<UpgradeOutcome> {
    this.#upgrading ??= this.#handOver().finally(() => (this.#upgrading = undefined));
    return this.#upgrading;
  }

  async #handOver(): Promise<UpgradeOutcome> {
    if (this.#leaving.signal.aborted) return { kind: 'failed', reason: DRAINING };
    logMessage(this.#logger, 'upgradeStarted');
    const endsAt = performance.now() + HANDOVER_MS;
    let close = (): void => undefined;
    try {
      const held = await this.#sockets();
      close = held.close;
      const { pid } = await startSuccessor(held.sockets, endsAt - performance.now());
      logMessage(this.#logger, 'handedOver', {}, { successor: pid });
      this.#isHandedOver = true;
      this.#manager?.notify({ kind: 'handed over', pid });
      // Deferred, so that the response is sent before the drain.
      setImmediate(() => void this.#gateway.releaseAdmin().finally(() => this.#beginStop()));
      return { kind: 'handed over', pid };
    } catch (reason) {
      logMessage(this.#logger, 'upgradeFailed', { reason: messageOf(reason) });
      return { kind: 'failed', reason: messageOf(reason) };
    } finally {
      close();
    }
  }

  /** Lets the predecessor drain once this process is ready, and closes unclaimed inherited sockets. */
  async #takeOver(): Promise<void> {
    const { predecessor, sockets } = this.#origin;
    const { signal } = this.#leaving;
    if (predecessor !== undefined) {
      while (!this.#gateway.readiness.ready && !signal.aborted) await pause(LOOK_EVERY_MS, signal);
      if (signal.aborted) return;
      predecessor.ready();
    }
    sockets.own();
  }

  /**
   * Stores the sockets again at each change, since sources also add and remove listeners. Waits first: a successor can
   * only notify the service manager after its predecessor has announced it.
   */
  async #storeSockets(): Promise<void> {
    const { signal } = this.#leaving;
    if (this.#store === undefined) return;
    let known = '';
    for (await pause(STORE_EVERY_MS, signal); !signal.aborted; await pause(STORE_EVERY_MS, signal)) {
      const now = JSON.stringify(this.#gateway.listeners);
      if (now !== known) await this.#keepSockets();
      known = now;
    }
  }

  async #keepSockets(): Promise<void> {
    if (this.#store === undefined || this.#isHandedOver || this.#leaving.signal.aborted) return;
    try {
      const { sockets, close } = await this.#sockets();
      // After a handover, the sockets belong to the successor.
      if (!this.#isHandedOver) this.#store.keep(sockets);
      close();
    } catch (reason) {
      this.#gateway.report(errorOf(reason));
    }
  }

  /** Queries the sockets, one query to the workers at a time. */
  #sockets(): Promise<HeldByProcess> {
    const queried = this.#querying.then(async () => {
      const { sockets, close } = await this.#gateway.sockets();
      const { sockets: inherited } = this.#origin;
      return { sockets: sockets.map((one) => ({ ...one, isManaged: inherited.isManaged(one.endpoint) })), close };
    });
    this.#querying = queried.catch(() => undefined);
    return queried;
  }

  #readinessLog(): ReadinessLog {
    const { transport, declined } = this.#loaded.transport;
    for (const { name, reason } of declined)
      logMessage(this.#logger, 'transportUnavailable', { transport: name, used: transport.name, reason });
    const { count: workers, total } = this.#shares;
    const facts = {
      version: VERSION,
      pid: process.pid,
      config: this.#loaded.file ?? 'command line',
      transport: transport.name,
      ...(workers > 1 && { workers }),
      maxConnections: total.connections,
      maxPendingHandshakes: total.pendingHellos,
    };
    const onChange = ({ ready, reasons }: Pick<Readiness, 'ready' | 'reasons'>): void =>
      this.#manager?.notify(ready ? { kind: 'ready' } : { kind: 'status', text: `not ready: ${reasons.join('; ')}` });
    return new ReadinessLog({
      gateway: this.#gateway,
      logger: this.#logger,
      facts,
      signal: this.#leaving.signal,
      onChange,
    });
  }

  /** Starts the gateway. Returns false when it cannot start, or was stopped before. */
  async #start(): Promise<boolean> {
    try {
      await unlessAborted(this.#gateway.start(this.#leaving.signal), this.#forcing.signal);
      return true;
    } catch (reason) {
      if (this.#leaving.signal.aborted) return false;
      this.#status = 1;
      const bind = bindFailure(reason, this.#loaded.config);
      logMessage(
        this.#logger,
        'cannotStart',
        { reason: bind ?? messageOf(reason) },
        bind === undefined ? { err: reason } : {},
      );
      this.#beginStop();
      return false;
    }
  }

  #beginStop(): void {
    this.#leaving.abort(new Error('shutting down'));
  }

  #beginStopOrForce(): void {
    const isFirst = !this.#leaving.signal.aborted || (this.#isHandedOver && !this.#isStopRequested);
    this.#isStopRequested = true;
    if (isFirst) return this.#beginStop();
    this.#forcing.abort(new Error('second signal'));
    this.#gateway.force();
  }

  /** After an uncaught exception, the process drains its connections and exits. */
  #onStray(error: Error, kind: StrayKind): void {
    this.#gateway.report(error);
    if (kind === 'rejection') return;
    this.#status = 1;
    logMessage(this.#logger, 'uncaughtException', {}, { code: 'INTERNAL' });
    this.#beginStop();
  }

  async #stop(): Promise<void> {
    const { signal } = this.#forcing;
    const stopped = this.#gateway.stop(signal).then(() => undefined, messageOf);
    const isStopped =
      (await settlesWithin(stopped, STOP_PATIENCE_MS, signal)) || (await settlesWithin(stopped, LAST_PATIENCE_MS));
    const failure = isStopped ? await stopped : 'a service is still stopping';
    if (failure === undefined) return;
    this.#status = 1;
    logMessage(this.#logger, 'shutdownIncomplete', { reason: failure });
  }
}

const DRAINING = 'already draining';
/**
 * Shorter than the timeout of admin API clients, longer than the loading of a large table. Unresponsive workers use up
 * a part of it.
 */
export const HANDOVER_MS = 25_000;
const LOOK_EVERY_MS = 20;
/** Crashes are rarer: a socket that is stored too late costs no more than one that is not stored. */
const STORE_EVERY_MS = 500;
/** No connection is left by then; a service that does not stop must not block the exit. */
const STOP_PATIENCE_MS = 10_000;
/** For a service whose signal has aborted. */
const LAST_PATIENCE_MS = 1_000;

function messageOf(reason: unknown): string {
  const failures = reason instanceof AggregateError ? reason.errors : [reason];
  return failures.map((failure) => (failure instanceof Error ? failure.message : String(failure))).join('; ');
}
