import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import type { SecureContext, TLSSocket } from 'node:tls';
import { formatEndpoint, ProxyError } from '@meshgate/core';
import { formatDuration, upgradeConnection } from '@meshgate/core/parts';
import type { Connection } from '@meshgate/core';
import { describeCertificate } from './certificate-identity.ts';
import { followTrace } from './handshake-trace.ts';
import { describeIdentity } from './identity.ts';
import type { Identity } from './identity.ts';
import { serverRefusal } from './server-identity.ts';
import type { ExpectedServer } from './server-identity.ts';
import { isUnknownNameAlert, refusalByAlert, tlsReason } from './tls-reason.ts';

/** Parameters of a handshake with a server of the mesh. */
export interface ClientHandshake extends ExpectedServer {
  /** The credentials to present, and the roots by which to verify the server. */
  readonly identity: Identity;
  /** Time limit in milliseconds. */
  readonly timeoutMs: number;
}

/**
 * Starts mutual TLS on an upstream connection.
 *
 * @throws ProxyError `UPSTREAM_UNTRUSTED` when the server's identity is not one of those expected, `CONNECT_TIMEOUT`,
 * `CONNECT_FAILED`; the signal's reason once it aborts. The connection is then closed.
 */
export async function beginMutualTls(
  connection: Connection,
  handshake: ClientHandshake,
  signal: AbortSignal,
): Promise<Connection> {
  const { identity } = handshake;
  const shown = `the server may have refused the certificate of ${describeIdentity(identity)}, or an intention denies it`;
  const where = formatEndpoint(connection.remote);
  const { context, trustDomain } = trustTowards(handshake);
  const located = { ...handshake, where, context, trustDomain };
  let trace: (() => number | undefined) | undefined;
  const upgrade = (raw: Socket): Promise<TLSSocket> =>
    clientHandshake(raw, located, { signal, onBegun: (tls) => (trace = followTrace(tls)) });
  const upgraded = await upgradeConnection(connection, upgrade, { explainLoss: () => shown });
  const found = trace?.();
  if (found !== undefined) TRACES.set(upgraded, found);
  return upgraded;
}

const TRACES = new WeakMap<Connection, number>();

/** Returns the trace of the TLS connection that {@link beginMutualTls} has started. */
export function traceOver(connection: Connection): number | undefined {
  return TRACES.get(connection);
}

interface LocatedHandshake extends ClientHandshake {
  readonly where: string;
  readonly context: SecureContext;
  /** Trust domain of the expected server. */
  readonly trustDomain: string;
}

/** Returns why no server of `peer` can be trusted; `undefined` when its roots are known, or for this cluster. */
export function distrustOf(peer: string | undefined, { peers }: Identity): ProxyError | undefined {
  const known = peer === undefined ? undefined : peers.get(peer);
  if (peer === undefined || known?.kind === 'trusted') return undefined;
  const why = known?.reason ?? 'its roots are unknown';
  return new ProxyError('UPSTREAM_UNTRUSTED', `no server of peer ${peer} can be trusted: ${why}`);
}

/** Returns the roots for a server: only the peer's own for a server of a peer. */
function trustTowards({ peer, identity }: ClientHandshake): Pick<LocatedHandshake, 'context' | 'trustDomain'> {
  const known = peer === undefined ? identity : identity.peers.get(peer);
  if (known !== undefined && 'context' in known) return known;
  throw distrustOf(peer, identity) ?? new ProxyError('INTERNAL', 'a peer that is trusted has a context');
}

interface HandshakeControl {
  readonly signal: AbortSignal;
  /** Called before anything is sent. */
  onBegun(tls: TLSSocket): void;
}

function clientHandshake(
  raw: Socket,
  handshake: LocatedHandshake,
  { signal, onBegun }: HandshakeControl,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const { context } = handshake;
    let shown: X509Certificate | undefined;
    let settled = false;
    const tls = tlsConnect({
      socket: raw,
      secureContext: context,
      servername: handshake.serverName,
      rejectUnauthorized: true,
      checkServerIdentity: () => serverRefusal(shown, handshake),
    });
    onBegun(tls);
    const timer = setTimeout(onTimeout, handshake.timeoutMs);
    signal.addEventListener('abort', onAbort, { once: true });
    // Runs before Node's own listener, which verifies the chain and closes the socket: the certificate is unavailable
    // afterwards. `checkServerIdentity` is no alternative: its argument is empty for a certificate with an empty
    // subject, such as those of the mesh.
    tls.prependOnceListener('secure', () => (shown = tls.getPeerX509Certificate()));
    tls.once('secureConnect', () => settle(() => resolve(tls)));
    // Remains for the socket's lifetime: an error between the handshake and the next owner needs a listener.
    tls.on('error', (error: NodeJS.ErrnoException) => fail(failure(error, shown, handshake)));
    tls.once('close', () => fail(new ProxyError('CONNECT_FAILED', `${trouble(handshake)}: closed`)));
    if (signal.aborted) onAbort();

    function fail(reason: Error): void {
      settle(() => {
        // Resets the connection: after an orderly close, the server would log a successful connection.
        if (raw.remoteAddress === undefined) raw.destroy();
        else raw.resetAndDestroy();
        reject(reason);
      });
    }
    function onTimeout(): void {
      fail(
        new ProxyError(
          'CONNECT_TIMEOUT',
          `${trouble(handshake)}: no response within ${formatDuration(handshake.timeoutMs)}`,
        ),
      );
    }
    function onAbort(): void {
      fail(signal.reason as Error);
    }
    function settle(then: () => void): void {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      then();
    }
  });
}

function failure(
  error: NodeJS.ErrnoException,
  shown: X509Certificate | undefined,
  handshake: LocatedHandshake,
): ProxyError {
  if (error instanceof ProxyError) return error;
  const cause = { cause: error };
  if (refusalByAlert(error)) {
    const message = `the server refused the certificate of ${describeIdentity(handshake.identity)}`;
    return new ProxyError('CONNECT_FAILED', `${trouble(handshake)}: ${message} (${tlsReason(error)})`, cause);
  }
  if (isUnknownNameAlert(error))
    return new ProxyError(
      'CONNECT_FAILED',
      `${trouble(handshake)}: the name is unknown there (${tlsReason(error)})`,
      cause,
    );
  if (shown !== undefined) {
    const expected = `expected a certificate issued by a root of ${handshake.trustDomain}`;
    const message = `${expected}, found ${describeCertificate(shown)}: ${tlsReason(error)}`;
    return new ProxyError('UPSTREAM_UNTRUSTED', `${trouble(handshake)}: ${message}`, cause);
  }
  const code = error.code?.startsWith('ERR_SSL_') === true ? 'UPSTREAM_UNTRUSTED' : 'CONNECT_FAILED';
  return new ProxyError(code, `${trouble(handshake)}: ${tlsReason(error)}`, cause);
}

function trouble({ where, serverName }: LocatedHandshake): string {
  return `TLS handshake with ${where} for ${serverName}`;
}
