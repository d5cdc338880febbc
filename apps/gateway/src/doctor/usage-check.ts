import type { AdminClient } from '../admin/client.ts';
import type { Finding } from '../live-check/finding.ts';

/**
 * Checks how close a running gateway is to its limits, and the errors of its connections since the start. No findings
 * when the metrics are not available. Never rejects.
 *
 * @param route route whose connections are checked; all routes when absent
 */
export async function usageFindings(client: Pick<AdminClient, 'stream'>, route?: string): Promise<readonly Finding[]> {
  try {
    let text = '';
    for await (const piece of client.stream('/metrics', AbortSignal.timeout(PATIENCE_MS))) text += piece;
    const series = seriesIn(text);
    return [limitsFinding(series), ...failuresFinding(series, route)];
  } catch {
    return [];
  }
}

const PATIENCE_MS = 5_000;

/** A series in the text format of metrics. */
interface Series {
  readonly name: string;
  readonly labels: string;
  readonly value: number;
}

/** Parses the text format of metrics. Pure. */
function seriesIn(text: string): readonly Series[] {
  const lines = text.matchAll(/^([a-z_]+)(?:\{(.*)\})? (\S+)$/gm);
  return Array.from(lines, ([, name = '', labels = '', value]) => ({ name, labels, value: Number(value) }));
}

function sumOf(series: readonly Series[], metric: string): number {
  return series.reduce((sum, { name, value }) => (name === metric ? sum + value : sum), 0);
}

/** Metrics of usage and limit, with the setting that raises the limit. */
const LIMITS = [
  ['connections', 'meshgate_connections_active', 'meshgate_connections_limit', 'raise limits.connections'],
  [
    'pending handshakes',
    'meshgate_pending_hellos',
    'meshgate_pending_hellos_limit',
    'find the clients that connect and stay silent (meshgate connections), or raise limits.pendingHellos',
  ],
  [
    'descriptors',
    'process_open_fds',
    'process_max_fds',
    'raise the limit of its process: LimitNOFILE of the unit, or ulimit -n',
  ],
  ['MiB', 'process_resident_memory_bytes', 'meshgate_memory_limit_bytes', 'give it more memory'],
] as const;
/** Share of a limit from which reaching it is a matter of time. */
const NEAR = 0.8;
/** The soft limit of most systems, too low for a server. */
const FEW_DESCRIPTORS = 1_024;
const MIB = 2 ** 20;

interface LimitUse {
  readonly what: string;
  readonly used: number;
  readonly limit: number;
  readonly advice: string;
}

function limitsFinding(series: readonly Series[]): Finding {
  const all = LIMITS.map(([what, used, limit, advice]): LimitUse => {
    const unit = used.endsWith('_bytes') ? MIB : 1;
    const [now, most] = [sumOf(series, used), sumOf(series, limit)].map((value) => Math.floor(value / unit));
    return { what, used: now ?? 0, limit: most ?? 0, advice };
  }).filter(({ limit }) => limit > 0);
  const near = all.find(({ what, used, limit }) => {
    return used > limit * NEAR || (what === 'descriptors' && limit < FEW_DESCRIPTORS);
  });
  const check = 'limits of the running gateway';
  const inOrder = near === undefined ? all : [near, ...all.filter((one) => one !== near)];
  const found = inOrder.map(({ what, used, limit }) => `${used} of ${limit} ${what}`).join(', ');
  if (near === undefined) return { check, outcome: 'ok', found };
  const { what, used, limit, advice } = near;
  if (used < limit) return { check, outcome: 'warning', found: `${howNear(near)}: ${found}`, advice };
  return { check, outcome: 'failed', found: `no ${what} left, new clients are refused: ${found}`, advice };
}

/** Describes usage; a low limit counts as nearly reached. */
function howNear({ what, used, limit }: Pick<LimitUse, 'what' | 'used' | 'limit'>): string {
  return used > limit * NEAR ? `few ${what} left` : `a low limit of ${what}`;
}

/** Advice for codes with causes on this side, independent of backends. */
const ADVICE: Readonly<Record<string, string>> = {
  CLIENT_DENIED: 'an access list of the listener or route: meshgate explain NAME shows it',
  LIMIT_REACHED: 'the log line says which limit',
  LOCAL_RESOURCE: 'this machine lacks descriptors, ports or memory',
  LOOP_DETECTED: 'a backend is this gateway itself',
};

function failuresFinding(series: readonly Series[], route: string | undefined): readonly Finding[] {
  const counts = new Map<string, number>();
  const of = route === undefined ? '' : `route="${route}"`;
  for (const { name, labels, value } of series) {
    if (!FAILURES.has(name) || value === 0 || !labels.includes(of)) continue;
    const [, code = 'OK'] = /code="(\w+)"/.exec(labels) ?? [];
    const isOurs = !labels.includes('side="downstream"') || code in ADVICE;
    if (code !== 'OK' && isOurs) counts.set(code, (counts.get(code) ?? 0) + value);
  }
  if (counts.size === 0) return [];
  const what = route === undefined ? 'connections' : `connections of route ${route}`;
  const check = `${what} since the start of the running gateway`;
  const found = Array.from(counts, ([code, count]) => `${count} ended with ${code}`).join(', ');
  const known = Array.from(counts.keys()).filter((code) => code in ADVICE);
  const advice = known.map((code) => (counts.size === 1 ? ADVICE[code] : `${code}: ${ADVICE[code]}`));
  return [
    advice.length === 0
      ? { check, outcome: 'ok', found }
      : { check, outcome: 'warning', found, advice: advice.join('; ') },
  ];
}

const FAILURES: ReadonlySet<string> = new Set([
  'meshgate_connections_closed_total',
  'meshgate_connections_refused_total',
]);
