import { createHash, randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket as NodeSocket } from 'node:net';
import { ProxyError } from '@meshgate/core';
import { settlesWithin } from '@meshgate/core/parts';
import type { Connection, Endpoint, Transport } from '@meshgate/core';

/** Whether the transport works on this system. `reason` is one sentence for the log. */
export type SelfTest = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/**
 * Sends real bytes through `transport` over the loopback interface, between a client and a backend of `node:net`: small
 * and bulk, in both directions, and a response that ends only after the client has finished. Takes a few milliseconds,
 * never throws, and cleans up.
 *
 * @param timeoutMs deadline in milliseconds; 2,000 when absent
 */
export async function testTransport(
  transport: Transport,
  { timeoutMs = TIMEOUT_MS }: { readonly timeoutMs?: number } = {},
): Promise<SelfTest> {
  const opened: CloseOpened[] = [];
  try {
    const carrying = carry(transport, opened);
    if (!(await settlesWithin(carrying, timeoutMs))) throw new Error(`no response within ${timeoutMs} ms`);
    await carrying;
    return { ok: true };
  } catch (reason) {
    return { ok: false, reason: reason instanceof Error ? reason.message : String(reason) };
  } finally {
    for (const close of opened) close();
  }
}

/** Closes one resource of the test, whatever its state. Idempotent. */
type CloseOpened = () => unknown;

/** Returns 127.0.0.1, or `::1` on a machine without IPv4. */
async function loopback(): Promise<string> {
  const server = createServer();
  try {
    await listening(server, IPV4_LOOPBACK);
    return IPV4_LOOPBACK;
  } catch {
    return IPV6_LOOPBACK;
  } finally {
    server.close();
  }
}

/**
 * Runs the exchange: the backend signals when it has half of the request, and at the end responds with its digest and
 * the request itself.
 */
async function carry(transport: Transport, opened: CloseOpened[]): Promise<void> {
  const backend = createServer({ allowHalfOpen: true }, (socket) => {
    opened.push(() => socket.destroy());
    respond(socket);
  });
  opened.push(() => backend.close());
  const host = await loopback();
  const to = { host, port: await listening(backend, host) };
  let joined: (joining: Promise<void>) => void = () => undefined;
  const spliced = new Promise<void>((resolve) => {
    joined = resolve;
  });
  const front = await transport.listen({ host, port: 0 }, LISTEN_OPTIONS, (down) => {
    joined(join(transport, down, to, opened));
  });
  opened.push(() => front.close());
  await Promise.all([exchange(front.address, opened), spliced]);
}

async function join(transport: Transport, down: Connection, to: Endpoint, opened: CloseOpened[]): Promise<void> {
  opened.push(() => down.destroy());
  const up = await transport.dial(to, DIAL_OPTIONS).done;
  const splice = transport.splice(down, up, { head: new Uint8Array(0), idleTimeoutMs: TIMEOUT_MS });
  opened.push(() => splice.cut(new ProxyError('INTERNAL', 'the test is over')));
  await splice.done;
}

async function exchange({ host, port }: Endpoint, opened: CloseOpened[]): Promise<void> {
  const request = randomBytes(BULK_BYTES);
  const client = connect({ host, port, allowHalfOpen: true });
  opened.push(() => client.destroy());
  client.write(request.subarray(0, SMALL_BYTES));
  client.write(request.subarray(SMALL_BYTES, HALF_BYTES));
  client.once('data', () => client.end(request.subarray(HALF_BYTES)));
  const answered = await received(client);
  const expected = Buffer.concat([HALF_OF_IT, digest(request), request]);
  if (!answered.equals(expected))
    throw new Error(`expected ${expected.length} bytes back, found ${answered.length} of which not all are the same`);
}

function respond(socket: NodeSocket): void {
  let half = false;
  received(socket, (bytes) => {
    if (!half && bytes >= HALF_BYTES) socket.write(HALF_OF_IT);
    half ||= bytes >= HALF_BYTES;
  }).then(
    (request) => socket.end(Buffer.concat([digest(request), request])),
    () => socket.destroy(),
  );
}

/** Resolves with all bytes that `socket` receives until its end. */
function received(socket: NodeSocket, onBytes: (bytes: number) => void = () => undefined): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  return new Promise((resolve, reject) => {
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      onBytes(bytes);
    });
    socket.once('end', () => resolve(Buffer.concat(chunks)));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('expected the end of the stream, found it closed before')));
  });
}

function digest(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

async function listening(server: Server, host: string): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, resolve);
  });
  return (server.address() as AddressInfo).port;
}

const IPV4_LOOPBACK = '127.0.0.1';
const IPV6_LOOPBACK = '::1';

/** Several hundred times the duration on an idle machine. */
const TIMEOUT_MS = 2_000;

const SMALL_BYTES = 512;
/** Several times the buffer, so that both directions are promoted to bulk. */
const BULK_BYTES = 512 * 1024;
const HALF_BYTES = BULK_BYTES / 2;
const HALF_OF_IT = Buffer.from('half');

const KEEP_ALIVE = { idleMs: 60_000 };
const LISTEN_OPTIONS = { backlog: 1, keepAlive: KEEP_ALIVE, onPause: (): void => undefined };
const DIAL_OPTIONS = { keepAlive: KEEP_ALIVE, timeoutMs: TIMEOUT_MS };
