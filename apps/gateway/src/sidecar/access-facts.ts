import { CALLER, destinationOf } from '@meshgate/connect';
import type { ClosedConnection } from '@meshgate/core';

/** Additional access log fields of a sidecar. */
export interface SidecarFacts {
  /** Public listener: verified SPIFFE URI of the client. */
  readonly caller?: string;
  /** Upstream: the kind of address that was dialled, `direct`, `local-gateway` or `remote-gateway`. */
  readonly path?: string;
  /** Upstream: the gateway mode, or `unset`. */
  readonly mode?: string;
  /** Upstream: the setting that decided the path, and the path without it. */
  readonly decidedBy?: string;
  /** Upstream: verified SPIFFE URI of the server; absent without a handshake. */
  readonly identity?: string;
}

/** Returns the fields of a connection; none for a gateway. */
export function sidecarFacts({ connection, route, upstream }: ClosedConnection): SidecarFacts {
  const caller = CALLER.of(connection);
  if (caller !== undefined) return { caller: caller.uri };
  if (route === undefined || destinationOf(route)?.kind !== 'upstream') return {};
  const { path, mode, decidedBy, identity } = (upstream?.route ?? route).origin ?? {};
  return {
    ...(path !== undefined && { path }),
    ...(mode !== undefined && { mode }),
    ...(decidedBy !== undefined && { decidedBy }),
    ...(upstream !== undefined && identity !== undefined && { identity }),
  };
}
