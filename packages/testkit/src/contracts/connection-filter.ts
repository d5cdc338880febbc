import type { ClosedConnection, ConnectionFilter, Endpoint } from '@meshgate/core';
import { DEFAULT_LIMITS, nodeTransport, ProxyError } from '@meshgate/core';
import { Admission, Sessions } from '@meshgate/core/parts';
import { describe, expect, it } from '../runner.ts';
import { rawClient } from '../clients.ts';
import { recorder } from '../recorder.ts';
import { Random } from './random.ts';

/** The first bytes of a client, and a filter's expected result. */
export interface FilterSample {
  /** Names the test. */
  readonly name: string;
  /** The client's bytes: exactly those that the filter must read. */
  readonly bytes: Uint8Array;
  /** The expected outcome. */
  readonly expected:
    /** The filter passes the client: it has consumed `bytes` except the last `rest` of them, and sent `response`. */
    | { readonly kind: 'passes'; readonly rest?: number; readonly response?: Uint8Array; readonly remote?: Endpoint }
    /** The filter refuses the client with this code. */
    | { readonly kind: 'refuses'; readonly code: ProxyError['code'] };
}

/**
 * Declares a suite that checks the contract of a connection filter: its decision does not depend on how the bytes are
 * split, it leaves later bytes alone, ends with the client and at its deadline, reports nothing for a client that
 * closes without sending a byte, and serves many connections with one object.
 *
 * @param create creates a filter for each test
 * @param samples at least one that the filter passes
 */
export function describeConnectionFilter(
  name: string,
  create: () => ConnectionFilter,
  samples: readonly FilterSample[],
): void {
  describe(`${name}, as a connection filter,`, () => {
    describe.each(samples)('of $name', (sample) => {
      it(`${sample.expected.kind} when all of it arrives at once, followed by more`, () =>
        holds(create(), sample, [Buffer.concat([sample.bytes, MORE])]));

      it(`${sample.expected.kind} when it arrives byte by byte`, () =>
        holds(
          create(),
          sample,
          Array.from(Buffer.concat([sample.bytes, MORE]), (byte) => Uint8Array.of(byte)),
        ));

      it('ends when the client closes in the middle of it', async () => {
        await using one = await filtered(create());
        await using client = await rawClient(one.at);
        await client.send(sample.bytes.subarray(0, sample.bytes.length >> 1));
        client.end();
        const { error } = await one.closed();
        expect(error?.code).not.toBe('INTERNAL');
      });
    });

    it('reports nothing for a client that closes without a byte', async () => {
      await using one = await filtered(create());
      await using client = await rawClient(one.at);
      client.end();
      expect((await one.closed()).error).toBeUndefined();
    });

    it('ends at the hello deadline when a client sends nothing', async () => {
      await using one = await filtered(create(), 50);
      await using client = await rawClient(one.at);
      await client.closed;
      expect((await one.closed()).error?.code).toBe('SNIFF_TIMEOUT');
    });

    it('never ends with INTERNAL, whatever the bytes', async () => {
      const random = new Random(1);
      await using one = await filtered(create());
      for (let round = 0; round < ROUNDS; round += 1) {
        const [sample] = samples;
        const bytes = altered(sample?.bytes ?? random.bytes(20), random);
        await using client = await rawClient(one.at);
        await client.send(bytes).catch(() => undefined);
        client.end();
      }
      const codes = await one.codes(ROUNDS);
      expect(codes).not.toContain('INTERNAL');
    });
  });
}

// Each round is a separate connection.
const ROUNDS = 50;
const MORE = Buffer.from('#what follows');

async function holds(filter: ConnectionFilter, sample: FilterSample, pieces: readonly Uint8Array[]): Promise<void> {
  const { expected } = sample;
  await using one = await filtered(filter);
  await using client = await rawClient(one.at);
  await client.sendInPieces([...pieces]).catch(() => undefined);
  client.end();
  const closed = await one.closed();
  if (expected.kind === 'refuses') {
    expect(closed.error?.code).toBe(expected.code);
    return;
  }
  const rest = sample.bytes.subarray(sample.bytes.length - (expected.rest ?? 0));
  expect(Buffer.from(one.sniffed()).equals(Buffer.concat([rest, MORE])), 'what is left for the sniffer').toBe(true);
  if (expected.remote !== undefined) expect(closed.connection.remote).toEqual(expected.remote);
  if (expected.response !== undefined)
    expect(Buffer.from(await client.receiveAll())).toEqual(Buffer.from(expected.response));
}

function altered(bytes: Uint8Array, random: Random): Uint8Array {
  const copy = new Uint8Array(bytes);
  for (let count = 0; count <= random.below(3); count += 1) copy[random.below(copy.length)] = random.below(256);
  return copy.slice(0, 1 + random.below(copy.length));
}

/** A listener with one filter; behind it, every byte is collected and no protocol is recognised. */
async function filtered(filter: ConnectionFilter, helloTimeoutMs = 5_000) {
  const transport = nodeTransport();
  const observer = recorder();
  const limits = { ...DEFAULT_LIMITS, helloTimeoutMs };
  let seen: Uint8Array = new Uint8Array(0);
  const sessions = new Sessions({
    filtersOf: () => [filter],
    sniffer: { name: 'gathers', inspect: (head) => ((seen = new Uint8Array(head)), { kind: 'more' }) },
    resolver: { resolve: () => undefined },
    connector: { connect: () => Promise.reject(new ProxyError('NO_BACKEND', 'there is none')) },
    transport,
    limits,
    admission: new Admission(limits),
    observer,
  });
  const options = { backlog: 64, keepAlive: { idleMs: 60_000 }, onPause: () => undefined };
  const listening = await transport.listen({ host: '127.0.0.1', port: 0 }, options, (connection) =>
    sessions.accept(connection, 'test'),
  );
  return {
    at: listening.address,
    sniffed: () => seen,
    closed: async (): Promise<ClosedConnection> => (await observer.until('connection.closed')).closed,
    async codes(count: number): Promise<readonly (string | undefined)[]> {
      await observer.until('connection.closed', () => observer.all('connection.closed').length >= count);
      return observer.all('connection.closed').map(({ closed }) => closed.error?.code);
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await listening.close();
      for (const session of sessions) session.cut(new ProxyError('CLOSED_BY_DRAIN', 'the test is over'));
      await sessions.empty();
    },
  };
}
