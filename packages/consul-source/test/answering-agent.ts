import { createServer } from 'node:http';
import { onLoopback } from './loopback.ts';

/** What an agent knows: an answer for each path below `/v1/`, queries left out. Whatever is not in it is a 404. */
export type Answers = Readonly<Record<string, unknown>>;

/** Answers each question once, and holds back what is asked again by index or hash: nothing ever changes. */
export async function answeringAgent(answers: Answers): Promise<AnsweringAgent> {
  const asked: string[] = [];
  const server = createServer((incoming, outgoing) => {
    const { pathname, search, searchParams } = new URL(incoming.url ?? '/', 'http://agent');
    const path = pathname.slice('/v1/'.length);
    if (searchParams.has('index') || searchParams.has('hash')) return;
    asked.push(path + search);
    const answer = answers[path];
    outgoing.writeHead(answer === undefined ? 404 : 200, { 'X-Consul-Index': '7', 'X-Consul-Contenthash': 'h' });
    outgoing.end(JSON.stringify(answer ?? null));
  });
  return { asked, ...(await onLoopback(server)) };
}

export interface AnsweringAgent extends AsyncDisposable {
  readonly address: string;
  /** Paths with their queries, in order. */
  readonly asked: readonly string[];
}
