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

/** What a gateway is reloaded with. */
export interface Next {
  readonly config: GatewayConfig;
  readonly parts: InstalledParts;
  readonly limits: Limits;
  /** Where another process answers the admin API for this one; nowhere when absent. */
  readonly adminAt?: readonly Endpoint[];
}

/** The sockets for which this process has descriptors. */
export interface HeldByProcess {
  readonly sockets: readonly InheritedSocket[];
  /** Closes those descriptors that were opened for this call. */
  close(): void;
}

/** The externally visible parts of a gateway. */
export interface GatewayParts {
  readonly admin: AdminServers;
  readonly routes: RouteStore;
  readonly listeners: Pick<Listeners, 'status'>;
  /** Every listening socket. */
  sockets(): Promise<HeldByProcess>;
  readonly observer: Observer;
  readonly drain: Pick<Drain, 'begin' | 'force'>;
  /** As provided by the plugins. */
  readonly sources: readonly RouteSource[];
  /** What {@link GatewayParts.prepare} can change. */
  readonly live: readonly LiveSetting[];
  /** Prepares what is to be in use from now on. Rejects, nothing having changed, when it cannot be. */
  prepare(next: Next): Promise<PreparedChange>;
  readiness(): Readiness;
  /** Everything that is started and stopped, as one service. */
  readonly lifecycle: Service;
}

/** A gateway: started once, drained, stopped. */
export class Gateway {
  readonly #parts: GatewayParts;
  #sources: readonly RouteSource[];
  #reportedAt = -Infinity;
  #unreported = 0;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
    this.#sources = parts.sources;
  }

  /** Which settings can be changed while it runs. */
  get live(): readonly LiveSetting[] {
    return this.#parts.live;
  }

  /**
   * Prepares a reload with `next`: unchanged parts are kept. An old part that fails to stop after the commit is
   * reported.
   *
   * @throws when a part of it cannot be applied; nothing changes then
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

  /** The bound addresses. */
  get listeners(): readonly ListenerView[] {
    return this.#parts.listeners.status.map(listenerView);
  }

  /** Address of the admin server; absent when there is none. */
  get adminUrl(): string | undefined {
    return this.#parts.admin.url;
  }

  /** Whether to send traffic here. */
  get readiness(): Readiness {
    return this.#parts.readiness();
  }

  /** Number of routes in use. */
  get routeCount(): number {
    return this.#parts.routes.table.size;
  }

  /** Resolves when it listens. Rejects, with everything stopped again, when a part cannot start or `signal` aborts. */
  start(signal: AbortSignal): Promise<void> {
    return this.#parts.lifecycle.start(signal);
  }

  /** Lets connections finish, and closes the rest at the end. Resolves when none is left; may be called again to join. */
  drain(why: DrainReason = 'leaving'): Promise<DrainProgress> {
    return this.#parts.drain.begin(why);
  }

  /**
   * Every socket, including those of the admin API, for a successor. The caller must call `close` when it is done with
   * them.
   */
  async sockets(): Promise<HeldByProcess> {
    const { sockets, close } = await this.#parts.sockets();
    return { sockets: [...sockets, ...this.#parts.admin.held], close };
  }

  /** From now on a successor serves the admin API. */
  releaseAdmin(): Promise<void> {
    return this.#parts.admin.release();
  }

  /** Ends a drain at once. */
  force(): void {
    this.#parts.drain.force();
  }

  /** After a drain: stops everything and cleans up. `signal` forces it. */
  async stop(signal: AbortSignal): Promise<void> {
    await this.#parts.lifecycle.stop(signal);
  }

  /**
   * Reports a failure that belongs to no connection, service or source: at most one a second, since an observer itself
   * may be what fails.
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

  /** Has every file-based source read its files again. */
  refresh(): void {
    for (const source of this.#sources) if (canRefresh(source)) source.refresh();
  }
}

const REPORT_EVERY_MS = 1_000;

/** A source that can be told to refresh now. */
interface Refreshable {
  refresh(): void;
}

function canRefresh(source: RouteSource): source is RouteSource & Refreshable {
  return 'refresh' in source && typeof source.refresh === 'function';
}
