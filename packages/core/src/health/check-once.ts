import { formatDuration } from '../duration.ts';
import { errorOf, ProxyError } from '../errors.ts';
import type { HealthCheck } from '../routes/route.ts';
import { begun } from '../transport/dial-failure.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Connection, Transport } from '../transport/transport.ts';
import { PatientTimer } from '../watch/patient-timer.ts';
import { onAbort, settlesWithin } from '../watch/scope.ts';
import { judgeResponse, probeHello } from './client-hello.ts';

/** One check of one address. */
export interface CheckOptions {
  readonly transport: Pick<Transport, 'dial'>;
  readonly check: HealthCheck;
  /** The address to connect to; not a DNS name. */
  readonly address: Endpoint;
  /** Aborts the check. */
  readonly signal: AbortSignal;
}

/** Result of a check. `shortage`: it could not be made, and says nothing about the address. */
export type CheckOutcome =
  { readonly kind: 'passed' } | { readonly kind: 'failed'; readonly reason: string } | { readonly kind: 'shortage' };

/**
 * Checks that `address` accepts a connection and, if the check is of kind `tls`, answers a ClientHello. Never rejects.
 */
export async function checkOnce(options: CheckOptions): Promise<CheckOutcome> {
  const outcome = outcomeOf(options);
  // Frees the slot for other checks even if the transport never settles.
  return (await settlesWithin(outcome, options.check.timeoutMs + GRACE_MS)) ? outcome : { kind: 'shortage' };
}

/** Transports enforce the timeout themselves. This limit is later, so that the transport's error comes first. */
const GRACE_MS = 250;

async function outcomeOf({ transport, check, address, signal }: CheckOptions): Promise<CheckOutcome> {
  const { kind, timeoutMs } = check;
  const endsAt = performance.now() + timeoutMs;
  const dial = begun(transport, address, { timeoutMs, keepAlive: KEEP_ALIVE });
  const release = onAbort(signal, () => dial.cut(STOPPED));
  try {
    const connection = await dial.done;
    if (kind === 'tcp') connection.destroy();
    else await untilServerHello(connection, check, { endsAt, signal });
    return { kind: 'passed' };
  } catch (thrown) {
    const isOurs = thrown instanceof ProxyError && thrown.side === 'proxy';
    return isOurs ? { kind: 'shortage' } : { kind: 'failed', reason: errorOf(thrown).message };
  } finally {
    release();
  }
}

/** The first bytes of a ServerHello decide; a few warnings may precede it. */
const MAX_RESPONSE_BYTES = 4_096;
/** A check ends long before the first keepalive probe. */
const KEEP_ALIVE = { idleMs: 60_000 };
const STOPPED = new ProxyError('CLOSED_BY_DRAIN', 'health checks stop');

async function untilServerHello(
  connection: Connection,
  { serverName, timeoutMs }: HealthCheck,
  { endsAt, signal }: { readonly endsAt: number; readonly signal: AbortSignal },
): Promise<void> {
  const timeout = new ProxyError('CONNECT_TIMEOUT', `no ServerHello within ${formatDuration(timeoutMs)}`);
  const timer = new PatientTimer(() => connection.destroy(timeout), true);
  timer.set(Math.max(1, endsAt - performance.now()));
  const release = onAbort(signal, () => connection.destroy(STOPPED));
  try {
    await connection.write(probeHello(serverName));
    let response = Buffer.alloc(0);
    for (;;) {
      const bytes = await connection.read();
      if (bytes === undefined) throw new Error('closed before its ServerHello');
      response = Buffer.concat([response, bytes]);
      const judged = judgeResponse(response);
      if (judged.kind === 'server-hello') return;
      if (judged.kind === 'failed') throw new Error(judged.reason);
      if (response.length > MAX_RESPONSE_BYTES) throw new Error(`no ServerHello in ${response.length} bytes`);
    }
  } finally {
    timer.clear();
    release();
    connection.destroy();
  }
}
