import { isDeepStrictEqual } from 'node:util';
import { expect, it } from '../runner.ts';
import { within } from './deadline.ts';
import { leavesNothingBehind } from './resources.ts';

/** A source under test. */
export interface SourceUnderTest<Source> {
  /** The tests watch it more than once, sequentially and concurrently, and always to the end. */
  readonly source: Source;
  /** Changes the source's data, so that it has a new value to yield. Each call is another change. */
  change(): Promise<void>;
  /** Called at the end of each test: stops the origin of the source's data. */
  dispose(): Promise<void>;
}

/** How a contract suite creates a source. */
export interface SourceHarness<Source> {
  /** Creates a source with its data for one test. */
  create(): Promise<SourceUnderTest<Source>>;
}

/** The common part of both kinds of sources. */
interface Watchable<Value> {
  readonly name: string;
  watch(signal: AbortSignal): AsyncIterable<Value>;
}

/** A test of one source: `reader` starts a watch, which ends with the test. */
type SourceClaim<Value> = (reader: () => SourceReader<Value>, change: () => Promise<void>) => Promise<void>;

/** Declares tests, each with its own source. */
export type DeclareClaim<Value> = (name: string, claim: SourceClaim<Value>) => void;

/**
 * @param content returns the part of a value that comparisons use
 */
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

  /** Resolves with the next value. */
  next(): Promise<Value> {
    return within(this.#read(), YIELDS_WITHIN_MS, 'the source to yield');
  }

  /** Resolves with the first value that differs from `known`: a source may repeat values. */
  async nextOther(known: Value): Promise<Value> {
    for (;;) {
      const value = await this.next();
      if (!this.#isSame(value, known)) return value;
    }
  }

  /** Reads until the value equals `wanted`. Rejects if it never does. */
  async nextLike(wanted: Value): Promise<void> {
    let value = await this.next();
    while (!this.#isSame(value, wanted)) value = await this.next();
  }

  /** Reads both until their values are equal. Rejects if they stay different. */
  async agreesWith(other: SourceReader<Value>): Promise<void> {
    while (!this.#isSameAs(other)) {
      await within(Promise.race([this.#read(), other.#read()]), YIELDS_WITHIN_MS, 'two readers to get the same value');
    }
  }

  /** Requests a value without waiting for it, so that the source is busy when it is stopped. */
  async request(): Promise<void> {
    this.#step().catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
  }

  /**
   * Aborts the signal, and resolves when the source has returned. Values that were already available may still arrive,
   * and are ignored.
   */
  async end(): Promise<void> {
    this.#abort.abort(new Error('the test stops the source'));
    await within(this.#drained(), RETURNS_WITHIN_MS, 'the source to return when its signal aborts');
  }

  /** Ends the watch as `break` in a `for await` loop does. */
  async stop(): Promise<void> {
    await within(
      Promise.resolve(this.#iterator.return?.()),
      RETURNS_WITHIN_MS,
      'the source to return when its reader leaves',
    );
  }

  async #read(): Promise<Value> {
    const result = await this.#step();
    if (result.done !== true) return result.value;
    throw new Error('expected the source to continue until its signal aborts, found it had returned');
  }

  async #drained(): Promise<void> {
    for (let count = 0; (await this.#step()).done !== true; count += 1) {
      if (count > MOST_READY) throw new Error(`expected the source to return, found it yielded ${count} more values`);
    }
  }

  /** Requests one value at a time, as core does: concurrent requests share the result. */
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

/** Claims about both kinds of sources: complete values, one after the other, until the signal aborts. */
export function watchClaims<Value>(claim: DeclareClaim<Value>): void {
  claim('yields what it knows at once, and the complete value again at each change', async (reader, change) => {
    const watched = reader();
    const first = await watched.next();
    await change();
    await watched.nextOther(first);
    await watched.agreesWith(reader());
  });

  claim('keeps a change for a slow reader', async (reader, change) => {
    const watched = reader();
    const first = await watched.next();
    await change();
    await change();
    // Several changes may be combined into one value: the last one counts.
    await watched.nextOther(first);
    await watched.agreesWith(reader());
  });

  claim('can be watched again once a watch has ended', async (reader) => {
    const earlier = reader();
    const first = await earlier.next();
    await earlier.end();
    await reader().nextLike(first);
  });

  claim('never modifies what it has yielded', async (reader, change) => {
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

  claim('returns when its signal aborts before its first value', async (reader) => {
    const watched = reader();
    await watched.request();
    await watched.end();
  });

  claim('returns when its signal has already aborted', async (reader) => {
    await reader().end();
  });

  claim('leaves no timer, socket or watcher behind, however its watch ends', async (reader) => {
    await leavesNothingBehind(async () => {
      const watched = reader();
      await watched.next();
      await watched.end();
      const forced = reader();
      await forced.request();
      await forced.end();
      const stopped = reader();
      await stopped.next();
      await stopped.stop();
    });
  });
}

// A source that queries a server may need a round trip and a pause between two; if it takes longer, a proxy starts
// without routes.
const YIELDS_WITHIN_MS = 5_000;
// The source only has to stop, but on a busy machine a turn or two of the event loop may take long.
const RETURNS_WITHIN_MS = 1_000;
// A source may have a value or two available; one that yields more has not stopped.
const MOST_READY = 10;
// Several of the above waits.
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
