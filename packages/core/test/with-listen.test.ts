import { expect, it } from 'vitest';
import type { Connection, Dial, Listening, Splice, Transport } from '../src/transport/transport.ts';
import { withListen } from '../src/transport/with-listen.ts';

const HERE = { host: '127.0.0.1', port: 1 };
const KEEP_ALIVE = { idleMs: 1 };

/** A transport as a class, whose methods use `this`. */
class ClassTransport implements Transport {
  readonly name = 'of-a-class';
  readonly #calls: string[] = [];
  get calls(): readonly string[] {
    return this.#calls;
  }
  listen(): Promise<Listening> {
    this.#calls.push('listen');
    return Promise.resolve({ address: HERE, close: () => Promise.resolve() });
  }
  dial(): Dial {
    this.#calls.push('dial');
    return { done: new Promise<Connection>(() => undefined), cut: () => undefined };
  }
  splice(down: Connection): Splice {
    this.#calls.push('splice');
    throw new Error(`expected no splice, found one of ${down.remote.host}`);
  }
}

it('a transport that is a class keeps its methods and its state when its listen is wrapped', async () => {
  const inner = new ClassTransport();
  const seen: string[] = [];
  const wrapped = withListen(inner, (listen) => (at, options, onConnection) => {
    seen.push(`${at.host}:${at.port}`);
    return listen(at, options, onConnection);
  });
  const options = { backlog: 1, keepAlive: KEEP_ALIVE, onPause: () => undefined };
  const listening = await wrapped.listen(HERE, options, () => undefined);
  wrapped.dial(HERE, { keepAlive: KEEP_ALIVE, timeoutMs: 1 });
  expect(wrapped.name).toBe('of-a-class');
  expect(listening.address).toEqual(HERE);
  expect(seen).toEqual(['127.0.0.1:1']);
  expect(inner.calls).toEqual(['listen', 'dial']);
});
