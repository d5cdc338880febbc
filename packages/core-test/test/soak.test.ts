import { randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { ProxyError } from '@meshgate/core';
import type { Splice, Transfer, Transport } from '@meshgate/core';
import { descriptorsByKind, loopsIdle, until } from '@meshgate/testkit';
import { variantsUnderTest } from './transport-under-test.ts';

/** Total number of connections; set `MESHGATE_SOAK=1000000` for more. */
const CONNECTIONS = Number(process.env['MESHGATE_SOAK'] ?? 600);
const AT_A_TIME = 48;
/** A generous millisecond per connection, and some time to start. */
const TIMEOUT_MS = 60_000 + 20 * CONNECTIONS;

const PLANS = [
  'both at once',
  'client finishes first',
  'backend finishes first',
  'slow client',
  'slow backend',
  'client resets',
  'backend resets',
  'client leaves at once',
  'cut',
  'nobody there',
] as const;
type Plan = (typeof PLANS)[number];

/** The fate of a connection, drawn before it begins; its number is in its first four bytes. */
interface Fate {
  readonly number: number;
  readonly plan: Plan;
  readonly upBytes: number;
  readonly downBytes: number;
  /** After how many bytes it is reset or cut. */
  readonly breaksAt: number;
}

/** What one end has received. */
interface Seen {
  received: number;
  /** Position of the first wrong byte. */
  wrongAt: number | undefined;
  ended: boolean;
}

const HEADER_BYTES = 4;
const KEEP_ALIVE = { idleMs: 60_000 };
const LISTEN = { backlog: 1024, keepAlive: KEEP_ALIVE, onPause: (): void => undefined };
/**
 * Both ends take their bytes from here, each connection at another offset, so that a misplaced byte is a wrong byte.
 */
const PATTERN = randomBytes(1024 * 1024 + 7);

function pattern(start: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at < length;) {
    const from = (start + at) % PATTERN.length;
    at += PATTERN.copy(bytes, at, from, Math.min(PATTERN.length, from + length - at));
  }
  return bytes;
}

function draw(number: number, random: () => number): Fate {
  const size = (): number => Math.floor(2 ** (random() * 20));
  const plan = PLANS[Math.floor(random() * PLANS.length)] ?? 'both at once';
  const [upBytes, downBytes] = [size(), size()];
  return { number, plan, upBytes, downBytes, breaksAt: Math.floor(random() * Math.min(upBytes, downBytes)) };
}

describe('many connections of every kind', () => {
  for (const [variant, create] of variantsUnderTest())
    it(`lose no byte, and leave nothing behind (${variant})`, { timeout: TIMEOUT_MS }, () => soak(create()));
});

async function soak(transport: Transport): Promise<void> {
  await loopsIdle();
  const before = descriptorsByKind();
  const fates = new Map<number, Fate>();
  const served = new Map<number, Promise<Seen>>();
  const backend = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => serve(socket, fates, served));
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', 1024, resolve));
  const { port } = backend.address() as AddressInfo;
  const carried = new Map<number, Promise<Transfer>>();
  const front = await relayByNumber(transport, port, fates, carried);

  const random = generator(Number(process.env['MESHGATE_SOAK_SEED'] ?? 1));
  let next = 0;
  const complaints: string[] = [];
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  expect(complaints).toEqual([]);

  await front.close();
  await new Promise((resolve) => backend.close(resolve));
  await until(() => JSON.stringify(descriptorsByKind()) === JSON.stringify(before));

  async function worker(): Promise<void> {
    while (next < CONNECTIONS && complaints.length < 10) {
      const fate = draw(next, random);
      next += 1;
      fates.set(fate.number, fate);
      const client = await live(front.address.port, fate);
      const complaint = judge(fate, client, await served.get(fate.number), await carried.get(fate.number));
      if (complaint !== undefined) complaints.push(`${fate.plan} ${JSON.stringify(fate)}: ${complaint}`);
      for (const map of [fates, served, carried]) map.delete(fate.number);
    }
  }
}

/** Reads the number of each connection and splices it, or breaks it, as its fate requires. */
async function relayByNumber(
  transport: Transport,
  port: number,
  fates: ReadonlyMap<number, Fate>,
  carried: Map<number, Promise<Transfer>>,
): Promise<{ readonly address: { readonly port: number }; close(): Promise<void> }> {
  return transport.listen({ host: '127.0.0.1', port: 0 }, LISTEN, (down) => {
    const refuse = (): void => down.destroy();
    down.read().then((head) => {
      const fate =
        head === undefined || head.length < HEADER_BYTES ? undefined : fates.get(Buffer.from(head).readUInt32BE(0));
      if (head === undefined || fate === undefined) return down.destroy();
      // Connections to port 1 of loopback are refused.
      const to = { host: '127.0.0.1', port: fate.plan === 'nobody there' ? 1 : port };
      return transport.dial(to, { keepAlive: KEEP_ALIVE, timeoutMs: 10_000 }).done.then((up) => {
        const splice = transport.splice(down, up, { head, idleTimeoutMs: 30_000 });
        carried.set(fate.number, splice.done);
        if (fate.plan === 'cut') cutAfter(splice, fate.breaksAt);
      }, refuse);
    }, refuse);
  });
}

function cutAfter(splice: Splice, bytes: number): void {
  let over = false;
  void splice.done.then(() => {
    over = true;
  });
  const look = (): void => {
    if (splice.bytesUp + splice.bytesDown >= bytes) splice.cut(new ProxyError('CLOSED_BY_DRAIN', 'soaked'));
    else if (!over) setImmediate(look);
  };
  look();
}

/** The backend's side of a connection. */
function serve(socket: Socket, fates: ReadonlyMap<number, Fate>, served: Map<number, Promise<Seen>>): void {
  socket.on('error', () => undefined);
  socket.once('readable', () => {
    const header = socket.read(HEADER_BYTES) as Buffer | null;
    const fate = header === null ? undefined : fates.get(header.readUInt32BE(0));
    if (fate === undefined) return socket.destroy();
    const down = pattern(fate.number * 31, fate.downBytes);
    const breaksAt = fate.plan === 'backend resets' ? fate.breaksAt : Infinity;
    served.set(fate.number, watch(socket, fate.number * 17, { breaksAt, slow: fate.plan === 'slow backend' }));
    if (fate.plan === 'client finishes first') socket.once('end', () => socket.end(down));
    // Node does not reset a socket after a half-close.
    else if (fate.plan === 'backend resets') socket.write(down);
    else socket.end(down);
    return undefined;
  });
}

/** The client's side. */
async function live(port: number, fate: Fate): Promise<Seen> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(fate.number);
  const breaksAt = fate.plan === 'client resets' ? fate.breaksAt : Infinity;
  const seen = watch(socket, fate.number * 31, { breaksAt, slow: fate.plan === 'slow client' });
  const up = Buffer.concat([header, pattern(fate.number * 17, fate.upBytes)]);
  if (fate.plan === 'client leaves at once') socket.write(up, () => socket.destroy());
  else if (fate.plan === 'backend finishes first') {
    socket.write(header);
    socket.once('end', () => socket.end(up.subarray(HEADER_BYTES)));
  } else if (fate.plan === 'client resets') socket.write(up);
  else socket.end(up);
  return seen;
}

/** Compares everything that arrives with the pattern, until the socket is closed. */
function watch(
  socket: Socket,
  start: number,
  { breaksAt, slow }: { readonly breaksAt: number; readonly slow: boolean },
): Promise<Seen> {
  const seen: Seen = { received: 0, wrongAt: undefined, ended: false };
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    if (!chunk.equals(pattern(start + seen.received, chunk.length))) seen.wrongAt ??= seen.received;
    seen.received += chunk.length;
    if (seen.received >= breaksAt) socket.resetAndDestroy();
    else if (slow) {
      socket.pause();
      setTimeout(() => socket.resume(), 1);
    }
  });
  socket.on('end', () => {
    seen.ended = true;
  });
  return new Promise((resolve) => socket.once('close', () => resolve(seen)));
}

const COMPLETE: ReadonlySet<Plan> = new Set([
  'both at once',
  'client finishes first',
  'backend finishes first',
  'slow client',
  'slow backend',
]);

function judge(
  fate: Fate,
  client: Seen,
  backend: Seen | undefined,
  transfer: Transfer | undefined,
): string | undefined {
  if (client.wrongAt !== undefined) return `the client got a wrong byte after ${client.wrongAt}`;
  if (backend?.wrongAt !== undefined) return `the backend got a wrong byte after ${backend.wrongAt}`;
  if (!COMPLETE.has(fate.plan)) return undefined;
  const expected = { up: fate.upBytes, down: fate.downBytes, counted: [fate.upBytes + HEADER_BYTES, fate.downBytes] };
  const found = {
    up: backend?.received,
    down: client.received,
    counted: [transfer?.bytesUp, transfer?.bytesDown],
  };
  if (transfer?.error !== undefined) return `ended with ${transfer.error.message}`;
  if (JSON.stringify(found) !== JSON.stringify(expected))
    return `expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`;
  return client.ended && backend?.ended === true ? undefined : 'an end did not see the other finish';
}

/** Mulberry32: small, and the same numbers in every run. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
