import { follow } from '@meshgate/core/parts';
import { AgentError } from '../agent.ts';
import { scopeWithin } from '../scope.ts';
import type { Scope } from '../scope.ts';

/** What a question gave last, and why it gives nothing at the moment. */
export interface Followed<T> {
  /** Kept while the question fails. */
  readonly value?: T;
  readonly failure?: string;
}

/** Questions that come and go, each followed for as long as it is wanted, and asked again when it fails. */
export class FollowedSet<T> {
  readonly #changed: () => void;
  readonly #signal: AbortSignal;
  readonly #entries = new Map<string, Entry<T>>();

  /** @param changed called whenever the answer of any of them changes */
  constructor(changed: () => void, signal: AbortSignal) {
    this.#changed = changed;
    this.#signal = signal;
  }

  /** From now on exactly these. `watch` of a key that is followed already is passed over. */
  want(wanted: ReadonlyMap<string, (signal: AbortSignal) => AsyncIterable<T>>): void {
    for (const [key, entry] of this.#entries) if (!wanted.has(key)) this.#drop(key, entry);
    for (const [key, watch] of wanted) if (!this.#entries.has(key)) this.#entries.set(key, this.#begin(watch));
  }

  /** `undefined` when it has neither spoken nor failed yet, or is not wanted. */
  get(key: string): Followed<T> | undefined {
    const { value, failure } = this.#entries.get(key) ?? {};
    if (value === undefined && failure === undefined) return undefined;
    return { ...(value === undefined ? {} : { value }), ...(failure === undefined ? {} : { failure }) };
  }

  /** Why some of them give nothing at the moment. */
  get failures(): readonly string[] {
    return Array.from(this.#entries.values(), ({ failure }) => failure).filter((failure) => failure !== undefined);
  }

  /** Whether each has spoken or failed. */
  get settled(): boolean {
    return [...this.#entries.keys()].every((key) => this.get(key) !== undefined);
  }

  /** Resolves when none is followed any more. */
  async end(): Promise<void> {
    const following = Array.from(this.#entries.values(), ({ done }) => done);
    for (const [key, entry] of this.#entries) this.#drop(key, entry);
    await Promise.all(following);
  }

  #begin(watch: (signal: AbortSignal) => AsyncIterable<T>): Entry<T> {
    const scope = scopeWithin(this.#signal);
    const entry: Entry<T> = { scope, value: undefined, failure: undefined, done: Promise.resolve() };
    entry.done = follow(watch, scope.signal, {
      onValue: (value) => {
        Object.assign(entry, { value, failure: undefined });
        this.#changed();
      },
      onFailure: (error) => {
        entry.failure = (error instanceof AgentError ? error.unreachable : undefined) ?? error.message;
        this.#changed();
      },
    });
    return entry;
  }

  #drop(key: string, { scope }: Entry<T>): void {
    scope.end();
    this.#entries.delete(key);
  }
}

interface Entry<T> {
  readonly scope: Scope;
  value: T | undefined;
  failure: string | undefined;
  done: Promise<unknown>;
}
