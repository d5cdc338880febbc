/** The alerts of docs/metrics.md. */
export const ALERTS = [
  'MeshgateFailures',
  'MeshgateBackendsEjected',
  'MeshgateSourceFailing',
  'MeshgateSourceWarns',
  'MeshgateNamesFail',
  'MeshgateListenerDown',
  'MeshgateFull',
  'MeshgateLogLost',
  'MeshgateCertificateNotRenewed',
] as const;

/** Name of a documented alert. */
export type AlertName = (typeof ALERTS)[number];

/** One series of an exposition. */
interface Series {
  readonly labels: string;
  readonly value: number;
}

/**
 * Which alerts hold in a scrape, their times left out: what is a rate there is here a count above zero. The test of the page holds the
 * metrics of each to the expression of its name.
 *
 * @param of labels of the series that count; any when absent
 */
export function alertsOf(exposition: string, of: RegExp = ANY): ReadonlySet<AlertName> {
  const firing = ALERTS.filter((alert) =>
    CONDITIONS[alert].some(([metric, labels, holds]) =>
      seriesOf(exposition, metric).some(
        (series) => labels.test(series.labels) && of.test(series.labels) && holds(series.value),
      ),
    ),
  );
  return new Set(firing);
}

type Condition = readonly [metric: string, labels: RegExp, holds: (value: number) => boolean];

const ANY = /(?:)/;
const some = (value: number): boolean => value > 0;

/** By alert: any of these is enough. */
export const CONDITIONS: Readonly<Record<AlertName, readonly Condition[]>> = {
  MeshgateFailures: [['meshgate_connections_closed_total', /side="(?:upstream|proxy)"/, some]],
  MeshgateBackendsEjected: [['meshgate_backends_ejected', ANY, some]],
  MeshgateSourceFailing: [['meshgate_source_failing', ANY, some]],
  MeshgateSourceWarns: [['meshgate_source_warnings', ANY, some]],
  MeshgateNamesFail: [['meshgate_resolution_failures_total', ANY, some]],
  MeshgateListenerDown: [['meshgate_listener_up', ANY, (value) => value === 0]],
  MeshgateFull: [
    ['meshgate_connections_refused_total', ANY, some],
    ['meshgate_listener_paused', ANY, some],
  ],
  MeshgateLogLost: [['meshgate_log_lines_dropped_total', ANY, some]],
  MeshgateCertificateNotRenewed: [
    ['meshgate_certificate_expiry_timestamp_seconds', ANY, (value) => value - new Date().getTime() / 1_000 < 6 * 3_600],
  ],
};

function seriesOf(exposition: string, metric: string): readonly Series[] {
  return exposition.split('\n').flatMap((line) => {
    const [, name, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    return name === metric ? [{ labels, value: Number(value) }] : [];
  });
}
