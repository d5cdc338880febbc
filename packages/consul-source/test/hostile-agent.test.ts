// Any server may listen at the agent's address. Other suites test responses with invalid content; this one tests
// responses that are too large, too slow or from the wrong server.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import { AgentError, consulParts, openAgent } from '../src/index.ts';
import type { Agent, AgentRequest } from '../src/index.ts';
import { onLoopback } from './loopback.ts';

const MIB = 1024 * 1024;
const CHUNK = Buffer.alloc(MIB, 'a');
const never = new AbortController().signal;

/** A server that answers every query with `response`, and a client that takes it for a Consul agent. */
async function before(respond: (outgoing: ServerResponse) => void) {
  const closed: Promise<unknown>[] = [];
  const server = createServer((_incoming, outgoing) => {
    closed.push(once(outgoing, 'close'));
    respond(outgoing);
  });
  const listening = await onLoopback(server);
  const agent = openAgent({ address: listening.address }, 8);
  return {
    agent,
    /** Resolves when no client reads a response any more. */
    allClosed: () => Promise.all(closed),
    async [Symbol.asyncDispose]() {
      await agent.close();
      await listening[Symbol.asyncDispose]();
    },
  };
}

/** Writes as long as a client reads; counts the bytes. */
function flood(outgoing: ServerResponse, sent: { bytes: number }): void {
  const write = (): void => {
    if (outgoing.destroyed) return;
    sent.bytes += CHUNK.length;
    if (outgoing.write(CHUNK)) setImmediate(write);
    else outgoing.once('drain', write);
  };
  write();
}

async function failureOf(agent: Agent, query: Partial<AgentRequest> = {}): Promise<string> {
  const reason: unknown = await agent.request({ path: 'x', ...query }, never).then(
    () => 'an answer',
    (error: unknown) => error,
  );
  expect(reason).toBeInstanceOf(AgentError);
  return (reason as Error).message;
}

describe('an agent that is not there', () => {
  it('is queried with back-off: the addresses of the registration are reported once', async () => {
    // Connections to port 1 of loopback are refused.
    const { listeners } = consulParts({ address: '127.0.0.1:1', register: { address: '127.0.0.1:8443' } });
    const again = () => listeners.watch(never)[Symbol.asyncIterator]();
    const first = again();
    expect((await first.next()).value).toMatchObject([{ endpoint: { host: '127.0.0.1', port: 8443 } }]);
    await expect(first.next()).rejects.toThrow('ECONNREFUSED');
    await expect(again().next()).rejects.toThrow('ECONNREFUSED');
  });
});

describe('a server that is not an agent', () => {
  it('with an endless response is read up to the limit, and abandoned', async () => {
    const sent = { bytes: 0 };
    await using hostile = await before((outgoing) => flood(outgoing.writeHead(200), sent));
    expect(await failureOf(hostile.agent)).toMatch(
      /: \/v1\/x: expected a response of at most 64 MiB, found a larger one$/,
    );
    await hostile.allClosed();
    expect(sent.bytes / MIB).toBeLessThan(80);
  });

  it('with endless responses uses no more memory for eight of them than for two', async () => {
    await using hostile = await before((outgoing) => flood(outgoing.writeHead(200), { bytes: 0 }));
    const failures = await Promise.all(Array.from({ length: 8 }, () => failureOf(hostile.agent)));
    for (const failure of failures)
      expect(failure).toMatch(
        /expected (a response of at most 64|responses in flight of at most 128) MiB, found a larger one$/,
      );
    // The response that exceeds the limit is dropped; the others continue with the room that this frees.
    expect(failures.some((failure) => failure.includes('responses in flight'))).toBe(true);
    await hostile.allClosed();
  });

  it('with an endless error response is read as far as an error of an agent', async () => {
    const sent = { bytes: 0 };
    await using hostile = await before((outgoing) => flood(outgoing.writeHead(500), sent));
    const complaint = 'a'.repeat(300);
    expect(await failureOf(hostile.agent)).toBe(`Consul agent: /v1/x: expected status 200, found 500: ${complaint}`);
    await hostile.allClosed();
    expect(sent.bytes / MIB).toBeLessThan(16);
  });

  it('with an endlessly slow response is abandoned at the deadline', async () => {
    await using hostile = await before((outgoing) => {
      outgoing.writeHead(200).write('[');
      const trickle = setInterval(() => outgoing.write(' '), 5);
      outgoing.on('close', () => clearInterval(trickle));
    });
    expect(await failureOf(hostile.agent, { timeoutMs: 50 })).toMatch(
      /: \/v1\/x: expected the complete response within 300 ms$/,
    );
    await hostile.allClosed();
  });

  it('with a redirect is not followed, and the target is reported', async () => {
    let queried = 0;
    await using elsewhere = await onLoopback(
      createServer((_incoming, outgoing) => {
        queried += 1;
        outgoing.end('[]');
      }),
    );
    const location = `${elsewhere.address}/login`;
    await using hostile = await before((outgoing) => void outgoing.writeHead(302, { location }).end());
    expect(await failureOf(hostile.agent)).toBe(
      `Consul agent: /v1/x: expected status 200, found 302, a redirect to ${location}`,
    );
    expect(queried).toBe(0);
  });

  it('without the expected TLS is reported', async () => {
    await using plain = await onLoopback(createServer((_incoming, outgoing) => void outgoing.end('[]')));
    const agent = openAgent({ address: plain.address.replace('http:', 'https:') }, 1);
    expect(await failureOf(agent)).toMatch(/: \/v1\/x: expected TLS, found another protocol: try http:\/\/$/);
    await agent.close();
  });

  it('that aborts in the middle of a response has given none', async () => {
    await using hostile = await before((outgoing) => {
      outgoing.writeHead(200, { 'content-length': 100 });
      outgoing.write('["half"', () => outgoing.destroy());
    });
    expect(await failureOf(hostile.agent)).toMatch(/: \/v1\/x: (other side closed|.*aborted|.*terminated)/);
  });
});
