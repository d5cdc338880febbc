import { pause } from '@meshgate/core';
import type { Amend } from '../config/amend-config.ts';
import { bindFailure } from './bind-failure.ts';
import { compose } from './compose.ts';
import type { Gateway } from './gateway.ts';
import { loadConfig } from '../config/load-config.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import { closeLog, openLog } from '../log/logger.ts';
import type { Log, Logger, LogTarget } from '../log/logger.ts';
import { thisMachine } from './machine.ts';
import { reload } from './reload.ts';
import { VERSION } from '../cli/version.ts';
import { composePrimary } from '../workers/primary.ts';
import { sharesOf } from '../workers/shares.ts';
import type { Shares } from '../workers/shares.ts';

/** What a process is told from outside. Each may be told any number of times. */
export interface Signals {
  /** SIGTERM, SIGINT. */
  onStop(listener: () => void): void;
  /** SIGHUP. */
  onReload(listener: () => void): void;
  /** Something threw or rejected, and nobody was there to catch it. */
  onStray(listener: (error: Error, kind: StrayKind) => void): void;
}

/** An answer that nobody waited for leaves nothing undone; after an exception nobody knows what is. */
type StrayKind = 'exception' | 'rejection';

/** 0: stopped cleanly, nothing cut. 1: connections were cut, or something failed at run time. */
export type ServeStatus = 0 | 1;

/** Where the configuration comes from: a file, what is laid over it, or both. */
export interface ConfigPlace {
  readonly file: string | undefined;
  readonly amend: Amend;
}

/**
 * Runs a gateway until it is told to leave and has drained, or fails.
 *
 * @throws ConfigProblems when the configuration is wrong; nothing has been started then
 */
export async function serve({ file, amend }: ConfigPlace, target: LogTarget, signals: Signals): Promise<ServeStatus> {
  const loaded = await loadConfig(file, amend);
  return run(loaded, (around) => gatewayOf(loaded, around), target, signals);
}

/** What there is when a proxy is put together. */
export interface RunSurroundings {
  readonly log: Log;
  readonly target: LogTarget;
  readonly shares: Shares;
  leave(): void;
}

/** Runs what `putTogether` makes of a configuration until it is told to leave and has drained, or fails. */
export async function run(
  loaded: LoadedConfig,
  putTogether: (around: RunSurroundings) => Gateway,
  target: LogTarget,
  signals: Signals,
): Promise<ServeStatus> {
  const log = await openLog(loaded.config.log, { ...target, isShared: loaded.config.workers !== 1 });
  const status = await new Run(loaded, putTogether, log, target).untilItEnds(signals);
  await closeLog(log);
  return status;
}

/** In this process, or with this one as the primary of its workers. */
function gatewayOf(loaded: LoadedConfig, around: RunSurroundings): Gateway {
  const { log, shares, leave } = around;
  if (shares.count > 1) return composePrimary(loaded, around);
  const { transport } = loaded.transport;
  return compose(loaded.config, loaded.parts, { log, transport, limits: shares.total, leave });
}

/** One proxy, from its start to its end. */
class Run {
  readonly #loaded: LoadedConfig;
  readonly #logger: Logger;
  readonly #shares: Shares;
  readonly #gateway: Gateway;
  /** Aborts when the process is to leave, whoever wants it to: a signal, the admin server, or a bug. */
  readonly #leaving = new AbortController();
  /** Aborts when whoever wants it to leave will not wait any longer. */
  readonly #hurrying = new AbortController();
  #status: ServeStatus = 0;

  constructor(loaded: LoadedConfig, putTogether: (around: RunSurroundings) => Gateway, log: Log, target: LogTarget) {
    this.#loaded = loaded;
    this.#logger = log.logger;
    this.#shares = sharesOf(loaded.config, thisMachine());
    this.#gateway = putTogether({ log, target, shares: this.#shares, leave: () => this.#leave() });
  }

  async untilItEnds(signals: Signals): Promise<ServeStatus> {
    signals.onStop(() => this.#leaveOrHurry());
    signals.onReload(() => void reload(this.#loaded, this.#gateway, this.#logger));
    signals.onStray((error, kind) => this.#onStray(error, kind));
    if (!(await this.#start())) return this.#status;
    this.#sayReady();
    await aborted(this.#leaving.signal);
    const { cut } = await this.#gateway.drain();
    if (cut > 0) this.#status = 1;
    await this.#stop();
    return this.#status;
  }

  /** Whether it runs: not when it could not start, nor when it was told to leave before it had. */
  async #start(): Promise<boolean> {
    try {
      await Promise.race([this.#gateway.start(this.#leaving.signal), rejection(this.#hurrying.signal)]);
      return true;
    } catch (reason) {
      if (this.#leaving.signal.aborted) return false;
      this.#status = 1;
      const bind = bindFailure(reason, this.#loaded.config);
      this.#logger.fatal(bind === undefined ? { err: reason } : {}, bind ?? `cannot start: ${messageOf(reason)}`);
      return false;
    }
  }

  #sayReady(): void {
    const { transport, declined } = this.#loaded.transport;
    for (const { name, reason } of declined) this.#logger.warn({ transport: name }, `transport stands down: ${reason}`);
    const { listeners, adminUrl: admin, routeCount: routes } = this.#gateway;
    const { count: workers, total } = this.#shares;
    const { connections, pendingHellos } = total;
    const facts = {
      version: VERSION,
      pid: process.pid,
      transport: transport.name,
      ...(workers > 1 && { workers }),
      connections,
      pendingHellos,
    };
    this.#logger.info({ listeners, admin, routes, ...facts }, 'ready');
  }

  #leave(): void {
    this.#leaving.abort(new Error('told to leave'));
  }

  #leaveOrHurry(): void {
    if (!this.#leaving.signal.aborted) {
      this.#leave();
      return;
    }
    this.#hurrying.abort(new Error('told to leave at once'));
    this.#gateway.force();
  }

  /** Connections are worth more than a clean state: a bug ends the process, but lets them finish first. */
  #onStray(error: Error, kind: StrayKind): void {
    this.#gateway.report(error);
    if (kind === 'rejection') return;
    this.#status = 1;
    this.#logger.fatal({ code: 'INTERNAL' }, 'an exception that nobody caught: draining, since a restart is needed');
    this.#leave();
  }

  async #stop(): Promise<void> {
    const over = new AbortController();
    const stopped = this.#gateway.stop(this.#hurrying.signal).then(() => undefined, messageOf);
    const late = pause(STOP_PATIENCE_MS, this.#hurrying.signal)
      .then(() => pause(LAST_PATIENCE_MS, over.signal))
      .then(() => 'a service is still busy');
    const failure = await Promise.race([stopped, late]);
    over.abort();
    if (failure === undefined) return;
    this.#status = 1;
    this.#logger.error(`not stopped cleanly: ${failure}`);
  }
}

/** No connection is left by then: what a plugin still has to say to somebody must not keep the process for ever. */
const STOP_PATIENCE_MS = 10_000;
/** For a service that has been told to hurry. */
const LAST_PATIENCE_MS = 1_000;

function rejection(signal: AbortSignal): Promise<never> {
  return aborted(signal).then(() => Promise.reject(new Error('told to leave at once')));
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

function messageOf(reason: unknown): string {
  const failures = reason instanceof AggregateError ? reason.errors : [reason];
  return failures.map((failure) => (failure instanceof Error ? failure.message : String(failure))).join('; ');
}
