import { formatDuration } from '../duration.ts';
import type { Hello } from './connection.ts';
import { ProxyError } from '../errors.ts';
import { Head } from './head.ts';
import type { Limits } from './limits.ts';
import { inspected } from './stages.ts';
import type { RejectionBytes, Sniffer } from './stages.ts';
import type { Connection } from '../transport/transport.ts';

/** A hello, and all bytes received so far, which must be sent to the backend. */
export interface Sniffed {
  readonly hello: Hello;
  /** All bytes received so far, beginning with the hello. */
  readonly head: Uint8Array;
  /** Rejection bytes in the client's protocol; absent if it has none. */
  readonly rejections?: RejectionBytes | undefined;
  /** Present if no sniffer recognises the protocol: the error of the connection, unless a route takes such clients. */
  readonly unrecognised?: ProxyError;
}

/** The parts used to read a hello. */
export interface HelloStages {
  readonly sniffer: Sniffer;
  readonly limits: Pick<Limits, 'helloMaxBytes'>;
}

/**
 * Reads until the sniffer has decided. Each byte is received, copied and inspected a bounded number of times, however
 * small the pieces. The caller enforces the deadline: it destroys the connection, and the pending read rejects with the
 * reason.
 *
 * @param received bytes of `connection` that have already been read; later ones are appended
 * @returns `undefined` if the client closes without sending a byte, as TCP health checks do: a normal end
 * @throws ProxyError `SNIFF_MALFORMED`, `SNIFF_TOO_LONG`, or `DOWNSTREAM_RESET` if the client closes in the middle of
 * its hello
 */
export async function readHello(
  connection: Connection,
  { sniffer, limits }: HelloStages,
  received: Head = new Head(),
): Promise<Sniffed | undefined> {
  const { helloMaxBytes } = limits;
  let progress: unknown;
  let inspectedBytes = 0;
  try {
    for (;;) {
      if (received.length === inspectedBytes) {
        const bytes = await connection.read();
        if (bytes === undefined) break;
        if (bytes.length > 0) received.append(bytes);
        continue;
      }
      inspectedBytes = received.length;
      const head = received.bytes;
      // The sniffer only gets bytes within the limit: otherwise the result would depend on how the network segmented
      // them.
      const verdict = inspected(
        sniffer,
        head.length > helloMaxBytes ? head.subarray(0, helloMaxBytes) : head,
        progress,
      );
      if (verdict.kind === 'hello') return { hello: verdict.hello, head, rejections: verdict.rejections };
      if (verdict.kind === 'pass') return { hello: UNKNOWN_PROTOCOL, head, unrecognised: unrecognised(head) };
      if (verdict.kind === 'reject') throw new ProxyError('SNIFF_MALFORMED', verdict.reason);
      if (head.length >= helloMaxBytes) throw tooLong(helloMaxBytes);
      progress = verdict.progress;
    }
  } catch (reason) {
    // Some health checks close, others reset: without a byte, both are a normal end.
    if (received.length === 0 && reason instanceof ProxyError && reason.code === 'DOWNSTREAM_RESET') return undefined;
    throw reason;
  }
  if (received.length === 0) return undefined;
  throw gone(received.length);
}

function tooLong(maxBytes: number): ProxyError {
  return new ProxyError('SNIFF_TOO_LONG', `hello incomplete after ${maxBytes} bytes`);
}

function gone(received: number): ProxyError {
  return new ProxyError('DOWNSTREAM_RESET', `the client closed after ${received} bytes, before its hello was complete`);
}

/** The hello is not complete in time. */
export function helloTimeoutError(timeoutMs: number, received: number): ProxyError {
  const waited = formatDuration(timeoutMs);
  return new ProxyError(
    'SNIFF_TIMEOUT',
    received === 0
      ? `no hello within ${waited}: a protocol whose server sends first, or packets lost on the path (MTU)`
      : `hello incomplete after ${waited}: ${received} bytes received; the client is slow, or larger packets are lost on the way (MTU)`,
  );
}

const SHOWN_BYTES = 8;

function unrecognised(head: Uint8Array): ProxyError {
  const start = Buffer.from(head.subarray(0, SHOWN_BYTES)).toString('hex');
  return new ProxyError(
    'SNIFF_UNRECOGNIZED',
    `expected a protocol that a sniffer knows, found bytes that begin with ${start}${hintOf(head)}`,
  );
}

/** SSLRequest and GSSENCRequest: the length, and a code that no protocol version uses. */
const POSTGRES_REQUESTS = ['\0\0\0\u0008\u0004\u00d2\u0016/', '\0\0\0\u0008\u0004\u00d2\u00160'];

/** Returns a hint at the probable protocol, and at the setting that is missing for it. */
function hintOf(head: Uint8Array): string {
  const text = Buffer.from(head.subarray(0, 12)).toString('latin1');
  if (text.startsWith('PROXY ') || text.startsWith('\r\n\r\n\0\r\nQUIT'))
    return ': a PROXY protocol header, which the listener does not accept (setting proxyProtocol)';
  if (/^(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|CONNECT|PATCH) /.test(text)) return ': HTTP without TLS';
  if (text.startsWith('SSH-')) return ': SSH';
  if (text.startsWith('PRI * HTTP/2')) return ': HTTP/2 without TLS';
  if (/^(?:EHLO|HELO) /i.test(text)) return ': SMTP, which begins without TLS';
  if (/^\*\d+\r\n/.test(text)) return ': Redis without TLS';
  if (POSTGRES_REQUESTS.some((request) => text.startsWith(request)))
    return ': an encryption request of PostgreSQL (the filter postgres handles it)';
  return '';
}

/** The hello of a client whose protocol no sniffer recognises. */
const UNKNOWN_PROTOCOL: Hello = { protocol: 'unknown', alpn: [], supportedVersions: [], ech: false, earlyData: false };
