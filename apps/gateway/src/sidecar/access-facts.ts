import { CALLER, destinationOf } from '@meshgate/connect';
import type { ClosedConnection } from '@meshgate/core';

/** Additional access log fields of a sidecar. */
export interface SidecarFacts {
  /** Of the public listener: the verified SPIFFE URI of the client. */
  readonly caller?: string;
  /** Of an upstream: the kind of address dialled, `direct`, `local-gateway` or `remote-gateway`. */
  readonly path?: string;
  /** Of an upstream: the gateway mode, or `unset`. */
  readonly mode?: string;
  /** Of an upstream: the setting that decided the path, and the path without it. */
  readonly decidedBy?: string;
  /** Of an upstream: the verified SPIFFE URI of the server; absent without a handshake. */
  readonly identity?: string;
}

/** Empty for connections of a gateway. */
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
