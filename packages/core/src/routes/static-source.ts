import { createHash } from 'node:crypto';
import type { Route, RouteSnapshot, RouteSource } from './route.ts';

/** A source whose routes are those that it was last given. */
export interface StaticSource extends RouteSource {
  /**
   * From now on these are all the routes. They are copied; setting equal ones again changes nothing.
   *
   * @param warnings what is wrong at the moment although the routes are served, one sentence each
   */
  set(routes: readonly Route[], warnings?: readonly string[]): void;
  /** Makes every watch that is under way throw `error`. The routes stay: a watch that starts later yields them. */
  fail(error: Error): void;
}

/**
 * A source for programs that know their routes themselves: it starts with `routes`, and `set` replaces them.
 * A watch whose reader is slow skips what has been replaced meanwhile.
 *
 * @param name unique within the proxy; a metric label
 */
export function staticSource(name: string, routes: readonly Route[] = []): StaticSource {
  const readers = new Set<Reader>();
  let current = snapshotOf(routes, []);
  return { name, watch, set, fail };

  function set(next: readonly Route[], warnings: readonly string[] = []): void {
    current = snapshotOf(next, warnings);
    for (const reader of readers) reader.wake();
  }

  function fail(error: Error): void {
    for (const reader of readers) {
      reader.failure ??= error;
      reader.wake();
    }
  }

  async function* watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot, void, void> {
    const reader: Reader = { failure: undefined, wake: () => undefined };
    const onAbort = (): void => reader.wake();
    readers.add(reader);
    signal.addEventListener('abort', onAbort);
    try {
      for (let yielded: RouteSnapshot | undefined; !signal.aborted;) {
        if (reader.failure !== undefined) throw reader.failure;
        if (current.version === yielded?.version) {
          await new Promise<void>((resolve) => {
            reader.wake = resolve;
          });
          continue;
        }
        yielded = current;
        yield yielded;
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      readers.delete(reader);
    }
  }
}

/** One watch that is under way. */
interface Reader {
  failure: Error | undefined;
  /** Makes it look again. */
  wake: () => void;
}

/** The version is a digest of the rest, so that versions are equal when and only when that is. */
function snapshotOf(routes: readonly Route[], warnings: readonly string[]): RouteSnapshot {
  const content = structuredClone({ routes, ...(warnings.length === 0 ? {} : { warnings }) });
  return {
    version: createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, VERSION_DIGITS),
    ...content,
  };
}

// 64 bits: enough to tell the contents of one process's life apart, short enough to read.
const VERSION_DIGITS = 16;
