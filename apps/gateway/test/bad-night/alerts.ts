import { ALERTS as RULES } from '@meshgate/metrics';
import { holds, samplesOf } from './promql.ts';
import type { Sample, Scrape } from './promql.ts';

/** The alerts of the rules that causes of the suite trigger. */
export type AlertName =
  | 'MeshgateFailures'
  | 'MeshgateRouteDown'
  | 'MeshgateBackendsEjected'
  | 'MeshgateSourceFailing'
  | 'MeshgateSourceWarns'
  | 'MeshgateNamesFail'
  | 'MeshgateListenerDown'
  | 'MeshgatePathImpaired'
  | 'MeshgateFull'
  | 'MeshgateLogLost'
  | 'MeshgateServiceFailed';

/** The scrapes of one gateway during a night, in which time passes faster than for Prometheus. */
export class Recording {
  readonly #scrapes: { readonly realMs: number; readonly unixTime: number; readonly samples: readonly Sample[] }[] = [];

  add(exposition: string): void {
    const unixTime = new Date().getTime() / 1_000;
    this.#scrapes.push({ realMs: performance.now(), unixTime, samples: samplesOf(exposition) });
  }

  /**
   * Whether the rule `alert` fires for the scrapes: its own expression, at every scrape for as long as its `for`.
   *
   * @param of labels of the series of a cause, in place of those of concurrent causes; series of connections without an
   * error are always included
   */
  fires(alert: AlertName, of: RegExp = ANY): boolean {
    const rule = RULES.find((one) => one.alert === alert);
    if (rule === undefined) throw new Error(`no rule ${alert}`);
    const speed =
      alert === 'MeshgateNamesFail' ? SPEED_OF_LOOKUPS : rule.expr.includes('[') ? SPEED_OF_RATES : SPEED_OF_GAUGES;
    const metrics = new Set(rule.expr.match(/meshgate_\w+/g));
    const scrapes = this.#scrapes.map(({ realMs, unixTime, samples }): Scrape => {
      const queried = samples.filter(({ labels }) => metrics.has(labels['__name__'] ?? ''));
      const counted = queried.filter((sample) => ENDS_WELL.test(textOf(sample)) || of.test(textOf(sample)));
      return { at: (realMs / 1_000) * speed, unixTime, samples: counted };
    });
    const now = scrapes.at(-1)?.at ?? 0;
    const since = now - minutesIn(rule.for) * 60;
    const first = scrapes.findIndex(({ at }) => at >= since);
    // It is pending as long as there are scrapes from before that time.
    if (first < 1 && rule.for !== undefined) return false;
    return scrapes.every((_scrape, end) => end < first || holds(rule.expr, scrapes.slice(0, end + 1)));
  }
}

const ANY = /(?:)/;
const ENDS_WELL = /route="well\.example".*code="OK"/;

/** Seconds of the night per second of the test: a rate over five minutes covers the last three seconds. */
const SPEED_OF_RATES = 100;
/** Failed lookups are retried after pauses, which have grown to eight seconds by the time the alert fires. */
const SPEED_OF_LOOKUPS = 35;
/** A rule about current values only does not need another event. */
const SPEED_OF_GAUGES = 600;

function minutesIn(duration = '0m'): number {
  return Number(/^(\d+)m$/.exec(duration)?.[1]);
}

function textOf({ labels }: Sample): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${value}"`)
    .join(',');
}
