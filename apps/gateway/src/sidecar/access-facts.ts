import { CALLER, destinationOf } from '@meshgate/connect';
import type { ClosedConnection } from '@meshgate/core';

/** What the access log says of a sidecar's connections beside what it says of every other. */
export interface SidecarFacts {
  /** Of the public listener: the SPIFFE URI that the client has proved. */
  readonly caller?: string;
  /** Of an upstream: who was dialled, `direct`, `local-gateway` or `remote-gateway`. */
  readonly path?: string;
  /** Of an upstream: the gateway mode, or `unset`. */
  readonly mode?: string;
  /** Of an upstream: which place decided the path, and what would hold without it. */
  readonly decidedBy?: string;
  /** Of an upstream: the SPIFFE URI that the server has proved; absent when it came to no handshake. */
  readonly identity?: string;
}

/** Empty for the connections of a gateway. */
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
