import { ConfigProblems, definePlugin, pause, ProxyError } from '@meshgate/core';
import type { Connector, Layer } from '@meshgate/core';

/** When no backend can be reached, retries all of them once after a pause: for backends that start on demand. */
export function tryAgain(afterMs: number): Layer<Connector> {
  return (next) => ({
    async connect(route, context) {
      try {
        return await next.connect(route, context);
      } catch (reason) {
        if (!(reason instanceof ProxyError) || reason.side !== 'upstream' || context.abandoned) throw reason;
        await pause(afterMs, context.signal);
        return next.connect(route, context);
      }
    },
  });
}

/** A route enables it with `use: [ { name: again, afterMs: 500 } ]`. */
export default definePlugin({
  name: 'again',
  parse: () => undefined,
  setup: (host) => host.offerLayer('again', (settings) => tryAgain(milliseconds(settings))),
});

function milliseconds(settings: unknown): number {
  const value: unknown = Reflect.get(Object(settings), 'afterMs');
  if (typeof value === 'number' && value > 0) return value;
  throw new ConfigProblems([{ path: ['afterMs'], message: 'expected a number of milliseconds above 0' }]);
}
