import type { Hello } from './connection.ts';
import { ProxyError } from '../errors.ts';
import { Head } from './head.ts';
import type { Limits } from './limits.ts';
import { inspected } from './stages.ts';
import type { RejectionBytes, Sniffer } from './stages.ts';
import type { Connection } from '../transport/transport.ts';

/** A hello, and every byte received so far: it owes them to the upstream. */
export interface Sniffed {
  readonly hello: Hello;
  readonly head: Uint8Array;
  /** How to refuse the client in its own protocol; absent when nothing is to be said. */
  readonly rejections?: RejectionBytes | undefined;
  /** Present when no sniffer knows the protocol: what the connection ends with, unless a route takes such clients. */
  readonly unrecognised?: ProxyError;
}

/** What reading a hello takes. */
export interface HelloStages {
  readonly sniffer: Sniffer;
  readonly limits: Pick<Limits, 'helloMaxBytes'>;
}

/**
 * Reads until the sniffer has decided. Each byte is received, copied and judged a bounded number of times, however small the
 * pieces. The deadline is the caller's: it destroys the connection, and the pending read rejects with its reason.
 *
 * @param first bytes of `connection` that have been read already
 * @returns `undefined` when the client leaves without a word, as health checks do: nothing was asked, and nothing has failed
 * @throws ProxyError `SNIFF_MALFORMED`, `SNIFF_TOO_LONG`, or `DOWNSTREAM_RESET` when the client leaves in the middle of its hello
 */
export async function readHello(
  connection: Connection,
  { sniffer, limits }: HelloStages,
  first: Uint8Array = NOTHING,
): Promise<Sniffed | undefined> {
  const { helloMaxBytes } = limits;
  const received = new Head();
  let progress: unknown;
  try {
    for (let bytes: Uint8Array | undefined = first; ; bytes = await connection.read()) {
      if (bytes === undefined) break;
      if (bytes.length === 0) continue;
      received.append(bytes);
      const head = received.bytes;
      // What is above the limit is not shown: else it would hang on how the client's bytes were cut on their way.
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
    // Some health checks finish, others reset: to be gone without a byte is no failure either way.
    if (received.length === 0 && reason instanceof ProxyError && reason.code === 'DOWNSTREAM_RESET') return undefined;
    throw reason;
  }
  if (received.length === 0) return undefined;
  throw gone(received.length);
}

const NOTHING = new Uint8Array(0);

function tooLong(maxBytes: number): ProxyError {
  return new ProxyError('SNIFF_TOO_LONG', `hello incomplete after ${maxBytes} bytes`);
}

function gone(received: number): ProxyError {
  return new ProxyError('DOWNSTREAM_RESET', `the client closed after ${received} bytes, before its hello was complete`);
}

const SHOWN_BYTES = 8;

function unrecognised(head: Uint8Array): ProxyError {
  const start = Buffer.from(head.subarray(0, SHOWN_BYTES)).toString('hex');
  return new ProxyError(
    'SNIFF_UNRECOGNIZED',
    `expected a protocol that a sniffer knows, found bytes that begin with ${start}${hintOf(head)}`,
  );
}

/** SSLRequest and GSSENCRequest: the length, and a number that no version has. */
const POSTGRES_REQUESTS = ['\0\0\0\u0008\u0004\u00d2\u0016/', '\0\0\0\u0008\u0004\u00d2\u00160'];

/** What the bytes most likely are, and what is missing for it. */
function hintOf(head: Uint8Array): string {
  const text = Buffer.from(head.subarray(0, 12)).toString('latin1');
  if (text.startsWith('PROXY ') || text.startsWith('\r\n\r\n\0\r\nQUIT'))
    return ': a PROXY protocol header, which the listener does not take (its setting proxyProtocol)';
  if (/^(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|CONNECT|PATCH) /.test(text)) return ': HTTP without TLS';
  if (text.startsWith('SSH-')) return ': SSH';
  if (text.startsWith('PRI * HTTP/2')) return ': HTTP/2 without TLS';
  if (/^(?:EHLO|HELO) /i.test(text)) return ': SMTP, which begins without TLS';
  if (/^\*\d+\r\n/.test(text)) return ': Redis without TLS';
  if (POSTGRES_REQUESTS.some((request) => text.startsWith(request)))
    return ': PostgreSQL that asks for encryption (the filter postgres answers it)';
  return '';
}

/** What is known of a client whose protocol no sniffer knows. */
const UNKNOWN_PROTOCOL: Hello = { protocol: 'unknown', alpn: [], supportedVersions: [], ech: false, earlyData: false };
