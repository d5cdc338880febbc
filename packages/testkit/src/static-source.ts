import { createHash } from 'node:crypto';
import type { Route, RouteSnapshot, RouteSource } from '@meshgate/core';
import { Changes } from './changes.ts';

/** A source whose routes are those that it was last given: for tests, and for embedders that get their routes elsewhere. */
export interface StaticSource extends RouteSource {
  /** From now on these are all the routes. They are copied; setting equal ones again changes nothing. */
  set(routes: readonly Route[], warnings?: readonly string[]): void;
  /** Makes every watch that is under way throw `error`. The routes stay: a watch that starts later yields them. */
  fail(error: Error): void;
}

/**
 * A source that starts with `routes`. Its versions are digests of what it yields, so they are equal when and only when that is.
 * A watch whose reader is slow skips what has been replaced meanwhile.
 */
export function staticSource(name: string, routes: readonly Route[] = []): StaticSource {
  const changes = new Changes();
  let current = snapshotOf(routes, []);
  let failure: { readonly error: Error } | undefined;
  return { name, watch, set, fail };

  function set(next: readonly Route[], warnings: readonly string[] = []): void {
    current = snapshotOf(next, warnings);
    changes.announce();
  }

  function fail(error: Error): void {
    failure = { error };
    changes.announce();
  }

  async function* watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot, void, void> {
    const earlierFailure = failure;
    let yielded: RouteSnapshot | undefined;
    const onAbort = (): void => changes.announce();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        const next = await changes.until(() => {
          if (signal.aborted) return 'over';
          if (failure !== undefined && failure !== earlierFailure) throw failure.error;
          return current.version === yielded?.version ? undefined : current;
        });
        if (next === 'over') return;
        yielded = next;
        yield next;
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}

function snapshotOf(routes: readonly Route[], warnings: readonly string[]): RouteSnapshot {
  const content = structuredClone({ routes, ...(warnings.length === 0 ? {} : { warnings }) });
  return {
    version: createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, VERSION_DIGITS),
    ...content,
  };
}

// 64 bits: enough to tell the contents of one process's life apart, short enough to read.
const VERSION_DIGITS = 16;
