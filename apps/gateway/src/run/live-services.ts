import { inOrder, stopInReverse } from '@meshgate/core/parts';
import type { PreparedChange } from '@meshgate/core/parts';
import type { Service } from '@meshgate/core';

/** Services that can be replaced at run time. Started in order, stopped in reverse. */
export class LiveServices implements Service {
  readonly name = 'services';
  /** The running services. The list object never changes. */
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
   * Starts those of `services` that do not run yet. Services that are no longer listed stop at the commit.
   *
   * @throws the error of a service that cannot start; nothing changes then
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

/** Longer than a deregistration from an agent takes. */
const STOP_PATIENCE_MS = 5_000;
