/** What the part that registers the gateway tells the part that makes its routes: what is wrong at the moment, by topic. */
export class Notices {
  readonly #texts = new Map<string, string>();
  readonly #listeners = new Set<() => void>();
  #leaving = false;

  /** @param text absent when nothing is wrong with the topic any more */
  set(topic: string, text: string | undefined): void {
    if (this.#texts.get(topic) === text) return;
    if (text === undefined) this.#texts.delete(topic);
    else this.#texts.set(topic, text);
    for (const listener of this.#listeners) listener();
  }

  /** The registration is about to be taken back. */
  leave(): void {
    this.#leaving = true;
  }

  /** Whether the registration is missing because it was taken back. */
  get leaving(): boolean {
    return this.#leaving;
  }

  get texts(): readonly string[] {
    return [...this.#texts.values()];
  }

  /** Calls `listener` at each change, until the function that it returns is called. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
