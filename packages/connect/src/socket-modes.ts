import { chmod } from 'node:fs/promises';
import { unixPath } from '@meshgate/core';
import type { Endpoint, Transport } from '@meshgate/core';
import type { ProxyView } from '@meshgate/mesh';

/**
 * Gives the unix sockets of upstreams the permissions that their definitions ask for. Until then they have those of the process's
 * umask, by which usually nobody else may connect.
 *
 * @param view the one in use
 */
export function withSocketModes(inner: Transport, view: () => ProxyView | undefined): Transport {
  return {
    ...inner,
    async listen(at, options, onConnection) {
      const listening = await inner.listen(at, options, onConnection);
      const mode = modeOf(at, view());
      const path = unixPath(at);
      if (mode === undefined || path === undefined) return listening;
      try {
        await chmod(path, mode);
        return listening;
      } catch (reason) {
        await listening.close();
        throw reason;
      }
    },
  };
}

/** Octal, as on every command line: `0600`, `770`. Anything else is no mode. */
function modeOf({ host }: Endpoint, view: ProxyView | undefined): number | undefined {
  const upstream = view?.upstreams.find(({ definition }) => definition.bind.host === host);
  const written = upstream?.definition.socketMode ?? '';
  return /^0?[0-7]{3}$/.test(written) ? Number.parseInt(written, 8) : undefined;
}
