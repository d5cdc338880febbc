import { formatEndpoint } from '@meshgate/core';
import type { Endpoint, HealthCheck } from '@meshgate/core';
import { CellFamily } from './family.ts';
import type { MetricCell } from './family.ts';
import type { LabeledRegistry } from './labeled-registry.ts';
import { METRICS } from './metrics.ts';

/** Counts ejections, health checks, balance failures, impaired paths and failed name lookups. */
export class BackendMetrics {
  readonly #ejections: MetricCell;
  readonly #ejected: MetricCell;
  readonly #passed: MetricCell;
  readonly #failed: MetricCell;
  readonly #down: MetricCell;
  /** By check and address: two checks of one address may have different results. */
  readonly #downNow = new Set<string>();
  readonly #failovers: MetricCell;
  readonly #balanceFailures: MetricCell;
  readonly #impairments: Readonly<
    Record<'family' | 'large-segments', Readonly<Record<'downstream' | 'upstream', MetricCell>>>
  >;
  readonly #failuresWithLastGood: MetricCell;
  readonly #failuresWithNothing: MetricCell;
  /** By address: an address that is ejected again before its return counts once. */
  readonly #ejectedNow = new Set<string>();

  constructor(registry: LabeledRegistry) {
    this.#ejections = new CellFamily(METRICS.ejections, registry).cell({});
    this.#ejected = new CellFamily(METRICS.ejected, registry).cell({});
    const checks = new CellFamily(METRICS.healthChecks, registry);
    this.#passed = checks.cell({ result: 'passed' });
    this.#failed = checks.cell({ result: 'failed' });
    this.#down = new CellFamily(METRICS.down, registry).cell({});
    this.#failovers = new CellFamily(METRICS.failovers, registry).cell({});
    this.#balanceFailures = new CellFamily(METRICS.balanceFailures, registry).cell({});
    const impairments = new CellFamily(METRICS.pathImpairments, registry);
    const ofProblem = (problem: string) => ({
      downstream: impairments.cell({ problem, side: 'downstream' }),
      upstream: impairments.cell({ problem, side: 'upstream' }),
    });
    this.#impairments = { family: ofProblem('family'), 'large-segments': ofProblem('large-segments') };
    const failures = new CellFamily(METRICS.resolutionFailures, registry);
    this.#failuresWithLastGood = failures.cell({ last_good: 'true' });
    this.#failuresWithNothing = failures.cell({ last_good: 'false' });
  }

  ejected(address: Endpoint): void {
    this.#ejections.value += 1;
    this.#ejectedNow.add(formatEndpoint(address));
    this.#ejected.value = this.#ejectedNow.size;
  }

  returned(address: Endpoint): void {
    this.#ejectedNow.delete(formatEndpoint(address));
    this.#ejected.value = this.#ejectedNow.size;
  }

  checked(passed: boolean): void {
    if (passed) this.#passed.value += 1;
    else this.#failed.value += 1;
  }

  isDown(address: Endpoint, check: HealthCheck, isDown: boolean): void {
    const key = `${JSON.stringify(check)} ${formatEndpoint(address)}`;
    if (isDown) this.#downNow.add(key);
    else this.#downNow.delete(key);
    this.#down.value = this.#downNow.size;
  }

  failedOver(): void {
    this.#failovers.value += 1;
  }

  balanceFailed(): void {
    this.#balanceFailures.value += 1;
  }

  pathImpaired(problem: 'family' | 'large-segments', side: 'downstream' | 'upstream'): void {
    this.#impairments[problem][side].value += 1;
  }

  resolutionFailed(lastGood: boolean): void {
    const failures = lastGood ? this.#failuresWithLastGood : this.#failuresWithNothing;
    failures.value += 1;
  }
}
