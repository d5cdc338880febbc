import { ConfigProblems } from '@meshgate/core';
import { adminClient } from '../admin/client.ts';
import type { AdminAddress } from '../admin/client.ts';
import { readTraces } from '../trace/read-traces.ts';
import type { Trace } from '../trace/traces.ts';

/** Arguments of `meshgate trace`. */
export interface TraceRequest {
  /** Trace as in the access log; all when absent. */
  readonly trace?: string | undefined;
  readonly serverName?: string | undefined;
  readonly files: readonly string[];
  readonly admins: readonly (readonly [name: string, address: AdminAddress])[];
  /** Maximum number of traces: the newest ones. */
  readonly limit: number;
}

/**
 * Joins the records of several proxies about the same connections.
 *
 * @throws ConfigProblems when there is nothing to read, or the trace is malformed
 */
export async function tracesOf({ trace, serverName, files, admins, limit }: TraceRequest): Promise<readonly Trace[]> {
  if (files.length === 0 && admins.length === 0) throw problem('expected --log FILE or --admin URL, found neither');
  if (trace !== undefined && !/^[0-9a-f]{13}$/.test(trace))
    throw problem(`expected a trace of 13 hexadecimal digits, found ${JSON.stringify(trace)}`);
  const clients = admins.map(([name, address]) => [name, adminClient(address)] as const);
  const traces = await readTraces(
    { files, admins: clients },
    { ...(trace !== undefined && { trace }), ...(serverName !== undefined && { serverName }) },
  );
  return traces.newest(limit);
}

function problem(message: string): ConfigProblems {
  return new ConfigProblems([{ message, path: [] }]);
}
