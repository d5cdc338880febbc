import type { OwnCertificate, Route, RouteSnapshot, TrustedAuthority } from '@meshgate/core';
import { Durations } from './durations.ts';
import type { DurationCell } from './durations.ts';
import { CellFamily } from './family.ts';
import type { MetricCell } from './family.ts';
import type { LabeledRegistry } from './labeled-registry.ts';
import { Memo } from './memo.ts';
import { METRICS } from './metrics.ts';

/** Metrics of the sources: snapshots, failures, timestamps. */
export class SourceMetrics {
  readonly #expiries: Memo<string, MetricCell>;
  readonly #roots: CellFamily<'source' | 'authority'>;
  readonly #routes: CellFamily<'source' | 'kind'>;
  readonly #down: CellFamily<'source' | 'kind'>;
  readonly #duration: DurationCell;
  readonly #families: readonly CellFamily<'source'>[];
  readonly #series: Memo<string, SourceSeries>;

  constructor(registry: LabeledRegistry) {
    this.#routes = new CellFamily(METRICS.sourceRoutes, registry);
    this.#down = new CellFamily(METRICS.sourceRoutesDown, registry);
    const expiries = new CellFamily(METRICS.certificateExpiry, registry);
    this.#expiries = new Memo((source) => expiries.cell({ source }));
    this.#roots = new CellFamily(METRICS.rootExpiry, registry);
    this.#duration = new Durations(METRICS.snapshotSeconds, registry).cell({});
    const serverNames = new CellFamily(METRICS.sourceServerNames, registry);
    const warnings = new CellFamily(METRICS.sourceWarnings, registry);
    const lastSuccess = new CellFamily(METRICS.sourceLastSuccess, registry);
    const failing = new CellFamily(METRICS.sourceFailing, registry);
    const failures = new CellFamily(METRICS.sourceFailures, registry);
    const snapshots = new CellFamily(METRICS.snapshots, registry);
    this.#families = [serverNames, warnings, lastSuccess, failing, failures, snapshots];
    this.#series = new Memo((source) => ({
      serverNames: serverNames.cell({ source }),
      warnings: warnings.cell({ source }),
      lastSuccess: lastSuccess.cell({ source }),
      failing: failing.cell({ source }),
      failures: failures.cell({ source }),
      snapshots: snapshots.cell({ source }),
    }));
  }

  updated(source: string, asOf: Date): void {
    const series = this.#series.get(source);
    series.failing.value = 0;
    series.lastSuccess.value = asOf.getTime() / 1000;
  }

  replaced(source: string, snapshot: RouteSnapshot, tookMs: number): void {
    const series = this.#series.get(source);
    series.snapshots.value += 1;
    series.warnings.value = snapshot.warnings?.length ?? 0;
    series.serverNames.value = snapshot.routes.reduce((sum, { serverNames }) => sum + serverNames.length, 0);
    this.#duration.observe(tookMs);
    this.#count(source, snapshot.routes);
  }

  certified(source: string, { validUntil }: OwnCertificate, authorities: readonly TrustedAuthority[]): void {
    this.#expiries.get(source).value = validUntil.getTime() / 1000;
    // A peer may have been removed.
    this.#roots.drop((labels) => labels.source === source);
    for (const { name, validUntil: end } of authorities)
      this.#roots.cell({ source, authority: name }).value = end.getTime() / 1000;
  }

  failed(source: string): void {
    const series = this.#series.get(source);
    series.failures.value += 1;
    series.failing.value = 1;
  }

  /** Drops the series of a source that is no longer followed: an alert on its age would never end. */
  removed(source: string): void {
    this.#series.take(source);
    for (const family of [...this.#families, this.#routes, this.#down])
      family.drop((labels) => labels.source === source);
  }

  /** Rebuilds the counts, so that no series of a former kind remains. */
  #count(source: string, routes: readonly Route[]): void {
    for (const family of [this.#routes, this.#down]) family.drop((labels) => labels.source === source);
    const kinds = new Memo((kind: string) => ({
      routes: this.#routes.cell({ source, kind }),
      down: this.#down.cell({ source, kind }),
    }));
    if (routes.length === 0) kinds.get('');
    for (const { kind = '', backends, egress } of routes) {
      const cells = kinds.get(kind);
      cells.routes.value += 1;
      if (egress === undefined && !backends.some(({ healthy }) => healthy)) cells.down.value += 1;
    }
  }
}

/** The series of one source. */
interface SourceSeries {
  readonly serverNames: MetricCell;
  readonly warnings: MetricCell;
  readonly lastSuccess: MetricCell;
  readonly failing: MetricCell;
  readonly failures: MetricCell;
  readonly snapshots: MetricCell;
}
