import type { Hello } from './connection.ts';
import { ProxyError } from '../errors.ts';
import type { RejectionBytes, Sniffer, Verdict } from './stages.ts';
import type { Connection } from '../transport/transport.ts';

/** A hello, and every byte received so far: it owes them to the upstream. */
export interface Sniffed {
  readonly hello: Hello;
  readonly head: Uint8Array;
  /** How to refuse the client in its own protocol; absent when nothing is to be said. */
  readonly rejections?: RejectionBytes | undefined;
}

/**
 * Reads until `sniffer` has decided. Each byte is received, copied and judged a bounded number of times, however small the
 * pieces. The deadline is the caller's: it destroys the connection, and the pending read rejects with its reason.
 *
 * @returns `undefined` when the client leaves without a word, as health checks do: nothing was asked, and nothing has failed
 * @throws ProxyError `SNIFF_*`, or `DOWNSTREAM_RESET` when the client leaves in the middle of its hello
 */
export async function readHello(
  connection: Connection,
  sniffer: Sniffer,
  maxBytes: number,
): Promise<Sniffed | undefined> {
  const received = new Head();
  let progress: unknown;
  try {
    for (;;) {
      const bytes = await connection.read();
      if (bytes === undefined) break;
      const head = received.append(bytes);
      // What is above the limit is not shown: else it would hang on how the client's bytes were cut on their way.
      const verdict = sniffer.inspect(head.length > maxBytes ? head.subarray(0, maxBytes) : head, progress);
      if (verdict.kind === 'hello') return { hello: verdict.hello, head, rejections: verdict.rejections };
      if (verdict.kind !== 'more') throw refused(verdict, head);
      if (head.length >= maxBytes) throw new ProxyError('SNIFF_TOO_LONG', `hello not whole after ${maxBytes} bytes`);
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

/** Bytes received so far. One read is passed on as it came; more are gathered in a buffer that doubles, so that work is linear. */
class Head {
  #buffer: Uint8Array = NOTHING;
  length = 0;

  append(bytes: Uint8Array): Uint8Array {
    const start = this.length;
    this.length += bytes.length;
    if (start === 0) this.#buffer = bytes;
    else this.#copy(bytes, start);
    return this.#buffer.subarray(0, this.length);
  }

  #copy(bytes: Uint8Array, start: number): void {
    if (this.#buffer.length < this.length) {
      const larger = new Uint8Array(Math.max(SMALLEST_BUFFER_BYTES, 2 * this.length));
      larger.set(this.#buffer.subarray(0, start));
      this.#buffer = larger;
    }
    this.#buffer.set(bytes, start);
  }
}

const NOTHING = new Uint8Array(0);

// A hello that comes in pieces is most often a post-quantum one of under 2 KiB.
const SMALLEST_BUFFER_BYTES = 4096;

function gone(received: number): ProxyError {
  return new ProxyError('DOWNSTREAM_RESET', `the client closed after ${received} bytes, before its hello was whole`);
}

const SHOWN_BYTES = 8;

function refused(verdict: Extract<Verdict, { kind: 'pass' | 'reject' }>, head: Uint8Array): ProxyError {
  if (verdict.kind === 'reject') return new ProxyError('SNIFF_MALFORMED', verdict.reason);
  const start = Buffer.from(head.subarray(0, SHOWN_BYTES)).toString('hex');
  return new ProxyError(
    'SNIFF_UNRECOGNIZED',
    `expected a protocol that a sniffer knows, found bytes that begin with ${start}`,
  );
}
