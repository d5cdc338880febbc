import { Cell } from '@meshgate/core/parts';

/** Current problems by topic, which the registration reports to the route source. */
export class Warnings {
  readonly #byTopic = new Map<string, string>();
  readonly #changes = new Cell<readonly string[]>();
  #isLeaving = false;

  /**
   * Sets or clears the warning of a topic.
   *
   * @param warning absent when the topic no longer has a problem
   */
  set(topic: string, warning: string | undefined): void {
    if (this.#byTopic.get(topic) === warning) return;
    if (warning === undefined) this.#byTopic.delete(topic);
    else this.#byTopic.set(topic, warning);
    this.#changes.set(this.list);
  }

  /** Records that the gateway is about to be deregistered. */
  markDeregistering(): void {
    this.#isLeaving = true;
  }

  /** Whether the registration is missing on purpose. */
  get isLeaving(): boolean {
    return this.#isLeaving;
  }

  get list(): readonly string[] {
    return [...this.#byTopic.values()];
  }

  /** Yields the warnings at each change, until `signal` aborts. */
  watch(signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    return this.#changes.watch(signal);
  }
}
