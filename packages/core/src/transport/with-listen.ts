import type { Transport } from './transport.ts';

/**
 * Returns `inner` with another `listen`. Works with class instances too: their methods are on the prototype, which an
 * object spread does not copy, and may depend on `this`.
 *
 * @param wrap gets the `listen` of `inner` and returns the one to use
 */
export function withListen(inner: Transport, wrap: (listen: Transport['listen']) => Transport['listen']): Transport {
  return {
    name: inner.name,
    listen: wrap((at, options, onConnection) => inner.listen(at, options, onConnection)),
    dial: (to, options) => inner.dial(to, options),
    splice: (down, up, options) => inner.splice(down, up, options),
    pipes: () => inner.pipes?.(),
  };
}
