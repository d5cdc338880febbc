import { useEffect, useRef, useState } from 'preact/hooks';
import type { RouteTableView } from '../src/admin/views.ts';
import { get } from './api.ts';

/** A route of `GET /routes`. */
export type RouteRow = RouteTableView['routes'] extends Iterable<infer Row> ? Row : never;

/** The route table as last read; `undefined` before. */
export type Table = readonly RouteRow[] | undefined;

/** Reads the table again when `revision` has changed, at most every {@link PAUSE_MS}. */
export function useTable(revision: number): Table {
  const [table, setTable] = useState<Table>(undefined);
  const next = useRef(0);
  useEffect(() => {
    const timer = window.setTimeout(
      () => {
        const begunAt = performance.now();
        void get<{ readonly routes: readonly RouteRow[] }>('routes').then(
          ({ routes }) => setTable(routes),
          () => undefined,
        );
        next.current = begunAt + PAUSE_MS;
      },
      Math.max(0, next.current - performance.now()),
    );
    return () => window.clearTimeout(timer);
  }, [revision]);
  return table;
}

/** A table of 10,000 routes is two megabytes. */
const PAUSE_MS = 2_000;
