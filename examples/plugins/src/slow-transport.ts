import { nodeTransport, pause } from '@meshgate/core';
import type { Transport } from '@meshgate/core';

/** Node's transport with dials that take `delayMs` longer: shows how clients behave on a distant network. */
export function slowTransport(delayMs: number): Transport {
  const node = nodeTransport();
  return {
    ...node,
    name: 'slow',
    dial(to, options) {
      const waiting = new AbortController();
      const begun = pause(delayMs, waiting.signal).then(() => node.dial(to, options));
      return {
        done: begun.then(({ done }) => done),
        cut(reason) {
          waiting.abort();
          void begun.then((dial) => dial.cut(reason));
        },
      };
    },
  };
}
