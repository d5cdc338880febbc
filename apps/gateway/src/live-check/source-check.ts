import type { Endpoint, ListenerSource, RouteSource } from '@meshgate/core';
import { observers, RouteStore } from '@meshgate/core/parts';
import { counted } from '../log/messages.ts';
import type { Finding } from './finding.ts';
import type { ListenTarget } from './port-check.ts';

/** The result of checking route sources. */
export interface SourcesChecked {
  readonly findings: readonly Finding[];
  /** Addresses of all backends of all routes. */
  readonly addresses: readonly Endpoint[];
}

/** Follows every source until it has routes, for up to five seconds. */
export async function checkSources(sources: readonly RouteSource[]): Promise<SourcesChecked> {
  const store = new RouteStore({ sources, observer: observers([]) });
  await store.start(new AbortController().signal);
  try {
    const findings = store.sources.flatMap(({ name, routes, lastSuccess, error, warnings }): readonly Finding[] => {
      const check = `source ${name}`;
      if (lastSuccess === undefined)
        return [{ check, outcome: 'failed', found: error?.message ?? 'no routes within 5 s', advice: LOOK_AT_SOURCE }];
      const found = counted(routes, 'route');
      return [
        { check, outcome: 'ok', found },
        ...warnings.map((warning) => ({ check, outcome: 'warning' as const, found: warning })),
      ];
    });
    const all = store.table.indexes.flatMap(({ routes }) => Array.from(routes.values()));
    return { findings, addresses: all.flatMap(({ backends }) => backends.map(({ address }) => address)) };
  } finally {
    await store.stop();
  }
}

const LOOK_AT_SOURCE = 'a gateway that starts now would wait for it, not ready';

/** Returns the addresses of listener sources, as far as they are known within `patienceMs`. */
export async function addressesOf(
  sources: readonly ListenerSource[],
  patienceMs: number,
): Promise<readonly ListenTarget[]> {
  const found = await Promise.all(sources.map((source) => firstAddresses(source, patienceMs)));
  return found.flat();
}

async function firstAddresses(source: ListenerSource, patienceMs: number): Promise<readonly ListenTarget[]> {
  try {
    for await (const listeners of source.watch(AbortSignal.timeout(patienceMs)))
      return listeners.map(({ name, endpoint }) => ({ what: `listener ${name}`, endpoint }));
  } catch {
    // The source's own finding reports the failure.
  }
  return [];
}
