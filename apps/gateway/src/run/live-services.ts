import { inOrder } from '@meshgate/core/parts';
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

  async stop(signal: AbortSignal): Promise<void> {
    await stopAll(this.current.splice(0), signal);
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
      await stopAll(gone, AbortSignal.timeout(STOP_PATIENCE_MS));
    };
    return { commit, discard: () => stopAll(added, AbortSignal.timeout(STOP_PATIENCE_MS)) };
  }
}

/** Longer than it takes to say goodbye to an agent. */
const STOP_PATIENCE_MS = 5_000;

async function stopAll(services: readonly Service[], signal: AbortSignal): Promise<void> {
  const failures: unknown[] = [];
  for (const service of services.toReversed())
    await service.stop(signal).catch((reason: unknown) => void failures.push(reason));
  if (failures.length > 0) throw new AggregateError(failures, `${failures.length} services did not stop cleanly`);
}
