import { Cell } from '@meshgate/core/parts';

/** Current problems, by topic, that the registration reports to the route source. */
export class Warnings {
  readonly #byTopic = new Map<string, string>();
  readonly #changes = new Cell<readonly string[]>();
  #isLeaving = false;

  /** @param warning absent when the topic has no problem any more */
  set(topic: string, warning: string | undefined): void {
    if (this.#byTopic.get(topic) === warning) return;
    if (warning === undefined) this.#byTopic.delete(topic);
    else this.#byTopic.set(topic, warning);
    this.#changes.set(this.list);
  }

  /** The gateway is about to be deregistered. */
  markDeregistering(): void {
    this.#isLeaving = true;
  }

  /** Whether the registration is missing because it was taken back on purpose. */
  get isLeaving(): boolean {
    return this.#isLeaving;
  }

  get list(): readonly string[] {
    return [...this.#byTopic.values()];
  }

  /** Yields at each change, until `signal` aborts. */
  watch(signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    return this.#changes.watch(signal);
  }
}
