import type { Transport } from './transport.ts';

/**
 * `inner` with another way of listening. Works for transports of any make: members of a class are on its prototype, where a copy
 * by spreading does not find them, and they may rely on being called on their own object.
 *
 * @param wrap gets the `listen` of `inner` and gives the one to use
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
