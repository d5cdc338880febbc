import { createReadStream } from 'node:fs';
import type { AdminClient } from '../admin/client.ts';
import { hopOfConnection, hopOfLine } from './hop.ts';
import { Traces } from './traces.ts';
import type { TraceFilter } from './traces.ts';

/** The places from which hops are read. */
export interface TraceOrigins {
  /** Log files with a JSON access log; other lines are ignored. */
  readonly files: readonly string[];
  /** Admin APIs with their displayed names, for live connections. */
  readonly admins: readonly (readonly [name: string, client: AdminClient])[];
}

/** Reads all `origins`. Rejects, naming the origin, when one cannot be read. */
export async function readTraces({ files, admins }: TraceOrigins, filter: TraceFilter): Promise<Traces> {
  const traces = new Traces(filter);
  for (const file of files) await readLog(file, traces);
  await Promise.all(admins.map(([name, client]) => readConnections(name, client, traces)));
  return traces;
}

async function readLog(file: string, traces: Traces): Promise<void> {
  const chunks: AsyncIterable<string> =
    file === STANDARD_INPUT ? process.stdin.setEncoding('utf8') : createReadStream(file, 'utf8');
  try {
    for await (const line of linesOf(chunks)) {
      const hop = hopOfLine(line, file);
      if (hop !== undefined) traces.add(hop);
    }
  } catch (reason) {
    throw new Error(`${file}: ${reason instanceof Error ? reason.message : String(reason)}`, { cause: reason });
  }
}

const STANDARD_INPUT = '-';

// Far longer than any line of an access log. A longer line is not buffered.
const LONGEST_LINE = 1_048_576;

/** Splits lines itself, because `node:readline` does not report an unreadable file. */
async function* linesOf(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of chunks) {
    const lines = chunk.split('\n');
    lines[0] = rest + (lines[0] ?? '');
    rest = lines.pop() ?? '';
    if (rest.length > LONGEST_LINE) rest = '';
    yield* lines;
  }
  yield rest;
}

async function readConnections(name: string, client: AdminClient, traces: Traces): Promise<void> {
  const response = await client.get('/connections');
  const now = new Date().getTime();
  const { connections } = Object(response) as { readonly connections?: unknown };
  if (!Array.isArray(connections)) throw new Error(`${name}: expected a list of connections, found none`);
  for (const connection of connections) {
    const hop = hopOfConnection(connection, name, now);
    if (hop !== undefined) traces.add(hop);
  }
}
