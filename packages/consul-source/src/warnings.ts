import { Cell } from '@meshgate/core/parts';

/** What the part that registers the gateway reports to the part that makes its routes: what is wrong at the moment, by topic. */
export class Warnings {
  readonly #byTopic = new Map<string, string>();
  readonly #changes = new Cell<readonly string[]>();
  #isLeaving = false;

  /** @param warning absent when nothing is wrong with the topic any more */
  set(topic: string, warning: string | undefined): void {
    if (this.#byTopic.get(topic) === warning) return;
    if (warning === undefined) this.#byTopic.delete(topic);
    else this.#byTopic.set(topic, warning);
    this.#changes.set(this.list);
  }

  /** The registration is about to be taken back. */
  markDeregistering(): void {
    this.#isLeaving = true;
  }

  /** Whether the registration is missing because it was taken back. */
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
