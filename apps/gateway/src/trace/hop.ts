/** One proxy's record of a connection, from its access log or its live connections. */
export interface Hop {
  /** Trace of the connection, the same at every hop. */
  readonly trace: string;
  /** Log file or admin API that has the record. */
  readonly origin: string;
  /** Time of the accept in milliseconds since 1970, by that proxy's clock. */
  readonly acceptedAt: number;
  readonly listener: string;
  readonly remote: string;
  readonly serverName?: string;
  readonly route?: string;
  readonly backend?: string;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Milliseconds from the accept until the close, or until now. */
  readonly durationMs: number;
  /** Result of the connection: `OK`, a code, or `live`. */
  readonly ended: string;
  /** Reason of the result; absent when it is `OK` or `live`. */
  readonly reason?: string;
}

type LogEntry = Readonly<Record<string, unknown>>;

/** Parses the hop in a log line; `undefined` for every other line, whatever its contents. */
export function hopOfLine(line: string, origin: string): Hop | undefined {
  // Skips most lines without parsing them.
  if (!line.includes('"trace"') || !line.includes('"durationMs"')) return undefined;
  const entry = parsed(line);
  const closedAt = Date.parse(text(entry?.['time']) ?? '');
  const durationMs = entry?.['durationMs'];
  if (entry === undefined || typeof durationMs !== 'number' || Number.isNaN(closedAt)) return undefined;
  return hopOf(entry, { origin, acceptedAt: closedAt - durationMs, durationMs, ended: text(entry['code']) ?? 'OK' });
}

/**
 * Parses the hop in an element of `GET /connections`.
 *
 * @param now milliseconds since 1970
 */
export function hopOfConnection(connection: unknown, origin: string, now: number): Hop | undefined {
  const entry = fieldsOf(connection);
  const ageMs = entry?.['ageMs'];
  if (entry === undefined || typeof ageMs !== 'number') return undefined;
  return hopOf(entry, { origin, acceptedAt: now - ageMs, durationMs: ageMs, ended: 'live' });
}

function hopOf(entry: LogEntry, times: Pick<Hop, 'origin' | 'acceptedAt' | 'durationMs' | 'ended'>): Hop | undefined {
  const [trace, listener, remote] = [text(entry['trace']), text(entry['listener']), text(entry['remote'])];
  if (trace === undefined || listener === undefined || remote === undefined) return undefined;
  return {
    trace,
    ...times,
    listener,
    remote,
    ...strings(entry, ['serverName', 'route', 'backend', 'reason']),
    bytesUp: count(entry['bytesUp']),
    bytesDown: count(entry['bytesDown']),
  };
}

function parsed(line: string): LogEntry | undefined {
  try {
    return fieldsOf(JSON.parse(line));
  } catch {
    return undefined;
  }
}

function fieldsOf(value: unknown): LogEntry | undefined {
  return typeof value === 'object' && value !== null ? (value as LogEntry) : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function strings(entry: LogEntry, names: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = text(entry[name]);
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

function count(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
