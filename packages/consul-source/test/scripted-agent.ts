import { createServer } from 'node:http';
import { onLoopback } from './loopback.ts';

/** One response; the last of a script is never sent. */
export interface Scripted {
  readonly status?: number;
  readonly index?: string;
  readonly hash?: string;
  readonly body: string;
}

/** Answers each query with the next response of `script`, and records the queries. */
export async function scriptedAgent(script: readonly Scripted[]): Promise<ScriptedAgent> {
  const queried: string[] = [];
  const server = createServer((incoming, outgoing) => {
    const { status = 200, index, hash, body } = script[queried.length] ?? {};
    queried.push(incoming.url ?? '');
    if (body === undefined) return;
    if (index !== undefined) outgoing.setHeader('X-Consul-Index', index);
    if (hash !== undefined) outgoing.setHeader('X-Consul-Contenthash', hash);
    outgoing.writeHead(status).end(body);
  });
  return { queried, ...(await onLoopback(server)) };
}

export interface ScriptedAgent extends AsyncDisposable {
  readonly address: string;
  /** Paths with their queries, in order. */
  readonly queried: readonly string[];
}
