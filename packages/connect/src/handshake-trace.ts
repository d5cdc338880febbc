import type { TLSSocket } from 'node:tls';
import { traceOf } from '@meshgate/sni';

/**
 * Follows the trace of a TLS connection that this process originates or terminates. Node exposes the client random only
 * through its key log, whose lines are `LABEL RANDOM SECRET` in hexadecimal; the secret is neither read nor stored.
 *
 * @param tls a socket before its handshake
 * @returns a function for the trace, which is `undefined` before the server has responded
 */
export function followTrace(tls: TLSSocket): () => number | undefined {
  let trace: number | undefined;
  tls.once('keylog', (line: Buffer) => {
    const start = line.indexOf(' ') + 1;
    trace = traceOf(Buffer.from(line.toString('latin1', start, start + RANDOM_HEX_DIGITS), 'hex'));
  });
  return () => trace;
}

const RANDOM_HEX_DIGITS = 64;
