import type { DrainProgress, Observer, RouteSource, Service } from '@meshgate/core';
import type { Drain, Listeners, Outliers, RouteStore } from '@meshgate/core/parts';
import type { AdminServer } from '../admin/server.ts';
import type { Readiness } from '../admin/readiness.ts';
import { listenerView } from '../admin/views.ts';
import type { ListenerView } from '../admin/views.ts';

/** The parts of a gateway that somebody outside has to do with. */
export interface GatewayParts {
  readonly admin: AdminServer | undefined;
  readonly routes: RouteStore;
  readonly listeners: Pick<Listeners, 'status'>;
  readonly outliers: Pick<Outliers, 'clear'>;
  readonly observer: Observer;
  readonly drain: Pick<Drain, 'begin' | 'force'>;
  /** As they came from the plugins. */
  readonly sources: readonly RouteSource[];
  readiness(): Readiness;
  /** Everything that is started and stopped, as one. */
  readonly lifecycle: Service;
}

/** A gateway: started once, drained, stopped. */
export class Gateway {
  readonly #parts: GatewayParts;
  #reportedAt = -Infinity;
  #unreported = 0;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
  }

  /** Where it listens. */
  get listeners(): readonly ListenerView[] {
    return this.#parts.listeners.status.map(listenerView);
  }

  /** Where the admin server answers; absent when there is none. */
  get adminUrl(): string | undefined {
    return this.#parts.admin?.url;
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
  drain(): Promise<DrainProgress> {
    return this.#parts.drain.begin();
  }

  /** Ends a drain at once. */
  force(): void {
    this.#parts.drain.force();
  }

  /** After a drain: stops everything that was started, and leaves nothing behind. `signal` makes it less polite. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#parts.outliers.clear();
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
    for (const source of this.#parts.sources) if (canRefresh(source)) source.refresh();
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
