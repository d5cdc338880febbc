import type { DrainProgress, Endpoint, Limits, Observer, RouteSource, Service } from '@meshgate/core';
import { errorOf } from '@meshgate/core/parts';
import type { Drain, DrainReason, Listeners, PreparedChange, RouteStore } from '@meshgate/core/parts';
import type { GatewayConfig } from '../config/config-schema.ts';
import type { InstalledParts } from '../config/parts.ts';
import type { InheritedSocket } from './inherited-sockets.ts';
import type { LiveSetting } from './setting-effects.ts';
import type { AdminServers } from '../admin/servers.ts';
import type { Readiness } from '../admin/readiness.ts';
import { listenerView } from '../admin/views.ts';
import type { ListenerView } from '../admin/views.ts';

/** Inputs of a reload. */
export interface Next {
  readonly config: GatewayConfig;
  readonly parts: InstalledParts;
  readonly limits: Limits;
  /** Addresses at which another process serves the admin API for this one; none when absent. */
  readonly adminAt?: readonly Endpoint[];
}

/** Sockets for which this process has descriptors. */
export interface HeldByProcess {
  readonly sockets: readonly InheritedSocket[];
  /** Closes the descriptors that were opened for this call. */
  close(): void;
}

/** The externally visible parts of a gateway. */
export interface GatewayParts {
  readonly admin: AdminServers;
  readonly routes: RouteStore;
  readonly listeners: Pick<Listeners, 'status'>;
  /** Returns every listening socket. */
  sockets(): Promise<HeldByProcess>;
  readonly observer: Observer;
  readonly drain: Pick<Drain, 'begin' | 'force'>;
  /** Route sources, as plugins provide them. */
  readonly sources: readonly RouteSource[];
  /** Settings that {@link GatewayParts.prepare} can change. */
  readonly live: readonly LiveSetting[];
  /** Prepares a change. Rejects when it cannot be applied; nothing changes then. */
  prepare(next: Next): Promise<PreparedChange>;
  readiness(): Readiness;
  /** All parts that are started and stopped, as one service. */
  readonly lifecycle: Service;
}

/** A gateway, which can be started once, drained and stopped. */
export class Gateway {
  readonly #parts: GatewayParts;
  #sources: readonly RouteSource[];
  #reportedAt = -Infinity;
  #unreported = 0;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
    this.#sources = parts.sources;
  }

  /** Settings that can be changed while the gateway runs. */
  get live(): readonly LiveSetting[] {
    return this.#parts.live;
  }

  /**
   * Prepares a reload with `next`. Unchanged parts are kept. An old part that fails to stop after the commit is
   * reported.
   *
   * @throws when a part cannot be applied; nothing changes then
   */
  async prepare(next: Next): Promise<PreparedChange> {
    const { commit, discard } = await this.#parts.prepare(next);
    return {
      discard,
      commit: () => {
        this.#sources = next.parts.sources;
        return commit().catch((reason: unknown) => this.report(errorOf(reason)));
      },
    };
  }

  /** Listeners with their bound addresses. */
  get listeners(): readonly ListenerView[] {
    return this.#parts.listeners.status.map(listenerView);
  }

  /** URL of the admin server; absent when there is none. */
  get adminUrl(): string | undefined {
    return this.#parts.admin.url;
  }

  /** Whether the gateway should receive traffic. */
  get readiness(): Readiness {
    return this.#parts.readiness();
  }

  /** Number of routes in use. */
  get routeCount(): number {
    return this.#parts.routes.table.size;
  }

  /**
   * Resolves when the gateway listens. Rejects, after stopping all parts, when a part cannot start or `signal` aborts.
   */
  start(signal: AbortSignal): Promise<void> {
    return this.#parts.lifecycle.start(signal);
  }

  /**
   * Drains: lets connections finish, and closes the remaining ones at the end. Resolves when none is left. A second
   * call joins the running drain.
   */
  drain(why: DrainReason = 'leaving'): Promise<DrainProgress> {
    return this.#parts.drain.begin(why);
  }

  /**
   * Returns every socket, including those of the admin API, for a successor. The caller must call `close` after use.
   */
  async sockets(): Promise<HeldByProcess> {
    const { sockets, close } = await this.#parts.sockets();
    return { sockets: [...sockets, ...this.#parts.admin.held], close };
  }

  /** Stops serving the admin API, which a successor takes over. */
  releaseAdmin(): Promise<void> {
    return this.#parts.admin.release();
  }

  /** Closes the remaining connections of a drain at once. */
  force(): void {
    this.#parts.drain.force();
  }

  /** Stops all parts, after a drain. `signal` forces the stop. */
  async stop(signal: AbortSignal): Promise<void> {
    await this.#parts.lifecycle.stop(signal);
  }

  /**
   * Reports a failure that belongs to no connection, service or source. Limited to one per second, because an observer
   * may be the part that fails.
   */
  report(failure: Error): void {
    const now = performance.now();
    if (now - this.#reportedAt < REPORT_EVERY_MS) {
      this.#unreported += 1;
      return;
    }
    const message = `${failure.message} (${this.#unreported} more in between)`;
    const error = this.#unreported === 0 ? failure : new Error(message, { cause: failure });
    this.#reportedAt = now;
    this.#unreported = 0;
    this.#parts.observer.observe({ type: 'service.failed', service: 'process', error });
  }

  /** Makes every file-based source read its files again. */
  refresh(): void {
    for (const source of this.#sources) if (canRefresh(source)) source.refresh();
  }
}

const REPORT_EVERY_MS = 1_000;

/** A source that can read its files again on request. */
interface Refreshable {
  refresh(): void;
}

function canRefresh(source: RouteSource): source is RouteSource & Refreshable {
  return 'refresh' in source && typeof source.refresh === 'function';
}
