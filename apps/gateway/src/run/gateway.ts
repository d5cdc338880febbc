import type { DrainProgress, Limits, Observer, RouteSource, Service } from '@meshgate/core';
import { errorOf } from '@meshgate/core/parts';
import type { Drain, DrainReason, Listeners, PreparedChange, RouteStore } from '@meshgate/core/parts';
import type { GatewayConfig } from '../config/config-schema.ts';
import type { InstalledParts } from '../config/parts.ts';
import type { InheritedSocket } from './inherited-sockets.ts';
import type { LiveSetting } from './setting-effects.ts';
import type { AdminServer } from '../admin/server.ts';
import type { Readiness } from '../admin/readiness.ts';
import { listenerView } from '../admin/views.ts';
import type { ListenerView } from '../admin/views.ts';

/** What a gateway goes on with after a reload. */
export interface Next {
  readonly config: GatewayConfig;
  readonly parts: InstalledParts;
  readonly limits: Limits;
}

/** Sockets, as far as this process has descriptors of them. */
export interface HeldByProcess {
  readonly sockets: readonly InheritedSocket[];
  /** Closes those descriptors that are only for the asking. */
  close(): void;
}

/** The parts of a gateway that somebody outside has to do with. */
export interface GatewayParts {
  readonly admin: readonly AdminServer[];
  readonly routes: RouteStore;
  readonly listeners: Pick<Listeners, 'status'>;
  /** Every socket that listens for connections. */
  sockets(): Promise<HeldByProcess>;
  readonly observer: Observer;
  readonly drain: Pick<Drain, 'begin' | 'force'>;
  /** As they came from the plugins. */
  readonly sources: readonly RouteSource[];
  /** What {@link GatewayParts.prepare} can change. */
  readonly live: readonly LiveSetting[];
  /** Prepares what is to be in use from now on. Rejects, nothing having changed, when it cannot be. */
  prepare(next: Next): Promise<PreparedChange>;
  readiness(): Readiness;
  /** Everything that is started and stopped, as one. */
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
   * Prepares to go on with `next`: what is the same in it stays as it is. What of the old does not stop once it is committed is reported.
   *
   * @throws when something of it cannot be put into use; nothing has changed then
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

  /** Where it listens. */
  get listeners(): readonly ListenerView[] {
    return this.#parts.listeners.status.map(listenerView);
  }

  /** Where the admin server answers; absent when there is none. */
  get adminUrl(): string | undefined {
    return this.#parts.admin[0]?.url;
  }

  /** Whether traffic should be sent here. */
  get readiness(): Readiness {
    return this.#parts.readiness();
  }

  /** How many routes are in use. */
  get routeCount(): number {
    return this.#parts.routes.table.size;
  }

  /** Resolves when it listens. Rejects, having stopped whatever had started, when a part cannot start or `signal` aborts. */
  start(signal: AbortSignal): Promise<void> {
    return this.#parts.lifecycle.start(signal);
  }

  /** Lets connections finish, and closes the rest in the end. Resolves when none is left; may be called again to join. */
  drain(why: DrainReason = 'leaving'): Promise<DrainProgress> {
    return this.#parts.drain.begin(why);
  }

  /** Every socket, those of the admin API as well, for a successor. Whoever asked owes `close` when it has them, or never will. */
  async sockets(): Promise<HeldByProcess> {
    const { sockets, close } = await this.#parts.sockets();
    return { sockets: [...sockets, ...this.#parts.admin.flatMap(({ held }) => held)], close };
  }

  /** A successor answers operators from now on. */
  async releaseAdmin(): Promise<void> {
    await Promise.all(this.#parts.admin.map((server) => server.release(new AbortController().signal)));
  }

  /** Ends a drain at once. */
  force(): void {
    this.#parts.drain.force();
  }

  /** After a drain: stops everything that was started, and leaves nothing behind. `signal` makes it less polite. */
  async stop(signal: AbortSignal): Promise<void> {
    await this.#parts.lifecycle.stop(signal);
  }

  /** Tells the observers of a failure that belongs to no connection, service or source: of one a second, since it may be an observer itself that fails. */
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

  /** Has every source that reads files read them again. */
  refresh(): void {
    for (const source of this.#sources) if (canRefresh(source)) source.refresh();
  }
}

const REPORT_EVERY_MS = 1_000;

/** A source that can be told to look again now. */
interface Refreshable {
  refresh(): void;
}

function canRefresh(source: RouteSource): source is RouteSource & Refreshable {
  return 'refresh' in source && typeof source.refresh === 'function';
}
