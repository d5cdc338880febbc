import { inOrder, stopInReverse } from '@meshgate/core/parts';
import type { PreparedChange } from '@meshgate/core/parts';
import type { Service } from '@meshgate/core';

/** Services that may be replaced while they run. Started in order, stopped in reverse. */
export class LiveServices implements Service {
  readonly name = 'services';
  /** Those that run now: the same list all the time. */
  readonly current: Service[];

  constructor(services: readonly Service[]) {
    this.current = [...services];
  }

  start(signal: AbortSignal): Promise<void> {
    return inOrder(this.name, this.current).start(signal);
  }

  stop(signal: AbortSignal): Promise<void> {
    return stopInReverse(this.name, this.current.splice(0), signal);
  }

  /**
   * Starts those of `services` that do not run yet; the ones that are gone are stopped when the change is committed.
   *
   * @throws what a service rejects with that cannot start; nothing has changed then
   */
  async prepare(services: readonly Service[]): Promise<PreparedChange> {
    const added = services.filter((service) => !this.current.includes(service));
    await inOrder(this.name, added).start(new AbortController().signal);
    const commit = async (): Promise<void> => {
      const gone = this.current.filter((service) => !services.includes(service));
      this.current.splice(0, this.current.length, ...services);
      await stopInReverse(this.name, gone, AbortSignal.timeout(STOP_PATIENCE_MS));
    };
    return { commit, discard: () => stopInReverse(this.name, added, AbortSignal.timeout(STOP_PATIENCE_MS)) };
  }
}

/** Longer than it takes to say goodbye to an agent. */
const STOP_PATIENCE_MS = 5_000;
