import { isDeepStrictEqual } from 'node:util';
import { expect, it } from '../runner.ts';
import { within } from './deadline.ts';
import { leavesNothingBehind } from './resources.ts';

/** A source in the hands of a contract suite. */
export interface SourceUnderTest<Source> {
  /** Watched more than once, by turns and at the same time, and always to the end. */
  readonly source: Source;
  /** Changes what the source gets its values from, so that it has something new to yield. Each call is another change. */
  change(): Promise<void>;
  /** Called at the end of each test: stops what stands behind the source. */
  dispose(): Promise<void>;
}

/** How a contract suite gets at a source. */
export interface SourceHarness<Source> {
  /** A new source and what stands behind it, for one test. */
  create(): Promise<SourceUnderTest<Source>>;
}

/** What both kinds of sources have. */
interface Watchable<Value> {
  readonly name: string;
  watch(signal: AbortSignal): AsyncIterable<Value>;
}

/** A test of one source: `reader` starts a watch of it, which ends with the test. */
type SourceClaim<Value> = (reader: () => SourceReader<Value>, change: () => Promise<void>) => Promise<void>;

/** Declares tests that each get a source of their own. */
export type DeclareClaim<Value> = (name: string, claim: SourceClaim<Value>) => void;

/** @param content what of a value counts when two are compared */
export function sourceClaims<Value>(
  harness: SourceHarness<Watchable<Value>>,
  content: (value: Value) => unknown,
): DeclareClaim<Value> {
  return (name, claim) => it(name, { timeout: TEST_TIMEOUT_MS }, () => withSource(harness, content, claim));
}

/** Watches a source as core does: one `next` at a time, until its signal aborts. */
class SourceReader<Value> {
  readonly #abort = new AbortController();
  readonly #iterator: AsyncIterator<Value, unknown>;
  readonly #content: (value: Value) => unknown;
  readonly #yielded: Value[] = [];
  #pending: Promise<IteratorResult<Value, unknown>> | undefined;

  constructor(source: Watchable<Value>, content: (value: Value) => unknown) {
    this.#content = content;
    this.#iterator = source.watch(this.#abort.signal)[Symbol.asyncIterator]();
  }

  /** The next value. */
  next(): Promise<Value> {
    return within(this.#read(), YIELDS_WITHIN_MS, 'the source to yield');
  }

  /** The first value that differs from `known`: a source may yield in between what it already knew. */
  async nextOther(known: Value): Promise<Value> {
    for (;;) {
      const value = await this.next();
      if (!this.#isSame(value, known)) return value;
    }
  }

  /** Reads on until it is told the same as `wanted`. Rejects when that does not come. */
  async nextLike(wanted: Value): Promise<void> {
    let value = await this.next();
    while (!this.#isSame(value, wanted)) value = await this.next();
  }

  /** Reads on, here and there, until both were told the same. Rejects when they stay apart. */
  async agreesWith(other: SourceReader<Value>): Promise<void> {
    while (!this.#isSameAs(other)) {
      await within(Promise.race([this.#read(), other.#read()]), YIELDS_WITHIN_MS, 'two readers to be told the same');
    }
  }

  /** Asks for a value and does not wait for it: the next end finds the source in the midst of its work. */
  async request(): Promise<void> {
    this.#step().catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Aborts, and resolves once the source has returned. What it had ready before may still come, and is left aside. */
  async end(): Promise<void> {
    this.#abort.abort(new Error('the test wants the source to stop'));
    await within(this.#drained(), RETURNS_WITHIN_MS, 'the source to return when its signal aborts');
  }

  /** Leaves as `break` in a `for await` does. */
  async stop(): Promise<void> {
    await within(Promise.resolve(this.#iterator.return?.()), RETURNS_WITHIN_MS, 'the source to let its reader leave');
  }

  async #read(): Promise<Value> {
    const result = await this.#step();
    if (result.done !== true) return result.value;
    throw new Error('expected the source to go on until its signal aborts, found it had returned');
  }

  async #drained(): Promise<void> {
    for (let count = 0; (await this.#step()).done !== true; count += 1) {
      if (count > MOST_READY) throw new Error(`expected the source to return, found it yielded ${count} more values`);
    }
  }

  /** One step at a time, as core takes them: who asks while another waits is told the same. */
  #step(): Promise<IteratorResult<Value, unknown>> {
    this.#pending ??= this.#iterator.next().then((result) => {
      this.#pending = undefined;
      if (result.done !== true) this.#yielded.push(result.value);
      return result;
    });
    return this.#pending;
  }

  #isSameAs(other: SourceReader<Value>): boolean {
    const [mine, theirs] = [this.#yielded.at(-1), other.#yielded.at(-1)];
    return mine !== undefined && theirs !== undefined && this.#isSame(mine, theirs);
  }

  #isSame(one: Value, other: Value): boolean {
    return isDeepStrictEqual(this.#content(one), this.#content(other));
  }
}

/** What routes and listeners have in common: whole values, one after the other, until the signal aborts. */
export function watchClaims<Value>(claim: DeclareClaim<Value>): void {
  claim('yields what it knows at once, and the whole again at each change', async (reader, change) => {
    const watched = reader();
    const first = await watched.next();
    await change();
    await watched.nextOther(first);
    await watched.agreesWith(reader());
  });

  claim('keeps a change for a reader that comes for it late', async (reader, change) => {
    const watched = reader();
    const first = await watched.next();
    await change();
    await change();
    // Several changes may have become one value, and that is fine: what counts is where it ends.
    await watched.nextOther(first);
    await watched.agreesWith(reader());
  });

  claim('can be watched again once a watch has ended', async (reader) => {
    const earlier = reader();
    const first = await earlier.next();
    await earlier.end();
    await reader().nextLike(first);
  });

  claim('never changes what it has yielded', async (reader, change) => {
    const watched = reader();
    const first = await watched.next();
    const copy = structuredClone(first);
    await change();
    await watched.nextOther(copy);
    expect(first).toEqual(copy);
  });
  endingClaims(claim);
}

function endingClaims<Value>(claim: DeclareClaim<Value>): void {
  claim('returns when its signal aborts while it waits for a change', async (reader) => {
    const watched = reader();
    await watched.next();
    await watched.request();
    await watched.end();
  });

  claim('returns when its signal aborts before it knows anything', async (reader) => {
    const watched = reader();
    await watched.request();
    await watched.end();
  });

  claim('returns when its signal had aborted before it was watched', async (reader) => {
    await reader().end();
  });

  claim('leaves no timer, socket or watcher behind, however its watch ends', async (reader) => {
    await leavesNothingBehind(async () => {
      const watched = reader();
      await watched.next();
      await watched.end();
      const hurried = reader();
      await hurried.request();
      await hurried.end();
      const stopped = reader();
      await stopped.next();
      await stopped.stop();
    });
  });
}

// A source that asks a server may need a round trip and a rest between two; more than this and a proxy starts without routes.
const YIELDS_WITHIN_MS = 5_000;
// It has only to stop, but a busy machine may take its time for the turn or two of the event loop.
const RETURNS_WITHIN_MS = 1_000;
// A source may have had a value or two ready; one that goes on has not noticed.
const MOST_READY = 10;
// Several waits of the above.
const TEST_TIMEOUT_MS = 30_000;

async function withSource<Value>(
  harness: SourceHarness<Watchable<Value>>,
  content: (value: Value) => unknown,
  claim: SourceClaim<Value>,
): Promise<void> {
  const { source, change, dispose } = await harness.create();
  const readers: SourceReader<Value>[] = [];
  try {
    await claim(reader, change);
    await Promise.all(readers.map((each) => each.end()));
  } finally {
    await dispose();
  }

  function reader(): SourceReader<Value> {
    const started = new SourceReader(source, content);
    readers.push(started);
    return started;
  }
}
