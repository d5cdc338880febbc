import type { Accepted, Hello } from './connection.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { ProxyError } from '../errors.ts';
import type { Backend } from '../routes/route.ts';
import type { ConnectContext } from './stages.ts';
import type { Dial } from '../transport/transport.ts';

/** What a session and its connector tell each other while a backend is being reached. */
export class Connecting implements ConnectContext {
  readonly connection: Accepted;
  readonly hello: Hello;
  abandoned: ProxyError | undefined;
  /** Dials made so far. */
  attempts = 0;
  /** The address dialled last. */
  dialled: Endpoint | undefined;
  #dial: Dial | undefined;
  #aborter: AbortController | undefined;

  constructor(connection: Accepted, hello: Hello) {
    this.connection = connection;
    this.hello = hello;
  }

  get signal(): AbortSignal {
    if (this.#aborter === undefined) {
      this.#aborter = new AbortController();
      if (this.abandoned !== undefined) this.#aborter.abort(this.abandoned);
    }
    return this.#aborter.signal;
  }

  dialing(_backend: Backend, address: Endpoint, dial: Dial): void {
    this.attempts += 1;
    this.dialled = address;
    this.#dial = dial;
    if (this.abandoned !== undefined) dial.cut(this.abandoned);
  }

  /** Nobody waits for the backend any more. Idempotent: the first reason counts. */
  abandon(reason: ProxyError): void {
    if (this.abandoned !== undefined) return;
    this.abandoned = reason;
    this.#aborter?.abort(reason);
    this.#dial?.cut(reason);
  }
}
