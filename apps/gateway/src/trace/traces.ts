import type { Hop } from './hop.ts';

/** One connection along its path through several proxies. */
export interface Trace {
  readonly trace: string;
  /** Hops in the order of acceptance, each by its own clock. */
  readonly hops: readonly Hop[];
}

/** Selects traces; all when empty. */
export interface TraceFilter {
  readonly trace?: string;
  readonly serverName?: string;
}

// Number of traces kept from a long log: the last ones.
const MAX_TRACES = 10_000;

/** Joins hops by their trace. Keeps the newest ten thousand traces. */
export class Traces {
  readonly #filter: TraceFilter;
  readonly #hops = new Map<string, Hop[]>();

  constructor(filter: TraceFilter) {
    this.#filter = filter;
  }

  /** Adds a hop that matches the filter, and ignores others. */
  add(hop: Hop): void {
    const { trace, serverName } = this.#filter;
    if (trace !== undefined && trace !== hop.trace) return;
    if (serverName !== undefined && serverName !== hop.serverName) return;
    const known = this.#hops.get(hop.trace);
    if (known !== undefined) {
      known.push(hop);
      return;
    }
    this.#hops.set(hop.trace, [hop]);
    const [oldest] = this.#hops.keys();
    if (this.#hops.size > MAX_TRACES && oldest !== undefined) this.#hops.delete(oldest);
  }

  /** The newest `limit` traces, the oldest first. */
  newest(limit: number): readonly Trace[] {
    return Array.from(this.#hops, ([trace, hops]) => ({
      trace,
      hops: hops.toSorted((one, other) => one.acceptedAt - other.acceptedAt),
    }))
      .toSorted((one, other) => startOf(one) - startOf(other))
      .slice(-limit);
  }
}

function startOf({ hops }: Trace): number {
  return hops[0]?.acceptedAt ?? 0;
}
