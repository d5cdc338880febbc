import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { fact, ProxyError } from '@meshgate/core';
import { upgradeConnection } from '@meshgate/core/parts';
import type { Fact, FilterContext, FilterResult, Hello } from '@meshgate/core';
import type { Caller } from '@meshgate/mesh';
import { callerOf } from './caller-trust.ts';
import { describeCertificate } from './certificate-identity.ts';
import { followTrace } from './handshake-trace.ts';
import { describeIdentity } from './identity.ts';
import type { Identity } from './identity.ts';
import { refusalByAlert, tlsReason } from './tls-reason.ts';
import { verifyError } from './verify-error.ts';

/** The verified caller: its certificate leads to a root, and names a service of the trust domain. */
export const CALLER: Fact<Caller> = fact('mtls.caller', ({ uri }) => uri);

/**
 * Terminates mutual TLS on an accepted connection, and sets the fact {@link CALLER}.
 *
 * @param head peeked bytes, the start of the handshake
 * @returns the ClientHello; or that the client closed without sending a byte, as Consul's TCP check of the port does
 * every few seconds
 * @throws ProxyError `DOWNSTREAM_UNTRUSTED` when the client does not prove its identity, `DOWNSTREAM_RESET` when it
 * closes before the end of the handshake
 */
export async function acceptMutualTls(
  client: FilterContext,
  identity: Identity,
  head: Uint8Array = NOTHING,
): Promise<FilterResult> {
  // Copied, since `head` is part of the client's reused buffer.
  const received = Uint8Array.from(head);
  client.consume(received.length);
  let handshake: ServerHandshake | undefined;
  let socket: Socket | undefined;
  const upgrade = async (raw: Socket): Promise<Socket> => {
    socket = raw;
    if (received.length > 0) raw.unshift(received);
    const { tls, trace } = await serverHandshake(raw, identity);
    handshake = clientOf(tls, identity, raw);
    if (trace !== undefined) handshake = { ...handshake, hello: { ...handshake.hello, trace } };
    return tls;
  };
  const explainLoss = (): string => `the client may have refused the certificate of ${describeIdentity(identity)}`;
  try {
    await client.replace((connection) => upgradeConnection(connection, upgrade, { explainLoss }));
  } catch (reason) {
    if (socket?.bytesRead === 0 && reason instanceof ProxyError && reason.code === 'DOWNSTREAM_RESET')
      return { kind: 'disconnected' };
    throw reason;
  }
  if (handshake === undefined) throw new ProxyError('INTERNAL', 'a handshake without a hello');
  client.set(CALLER, handshake.caller);
  return { kind: 'hello', hello: handshake.hello };
}

const NOTHING = new Uint8Array();

/** The ClientHello of a client, and its verified identity. */
interface ServerHandshake {
  readonly hello: Hello;
  readonly caller: Caller;
}

/** A client connection after its handshake. */
interface AcceptedHandshake {
  readonly tls: TLSSocket;
  readonly trace: number | undefined;
}

/** Uses a bare `TLSSocket`, because a `tls.Server` does not report which socket failed its handshake. */
function serverHandshake(raw: Socket, identity: Identity): Promise<AcceptedHandshake> {
  return new Promise((resolve, reject) => {
    const options = {
      isServer: true,
      requestCert: true,
      rejectUnauthorized: true,
      secureContext: identity.serverContext,
    };
    const tls = new TLSSocket(raw, options);
    const trace = followTrace(tls);
    // Remains for the socket's lifetime: without a `tls.Server`, only this event reports later TLS errors.
    tls.on('_tlsError', (error: NodeJS.ErrnoException) => {
      reject(handshakeFailure(error, identity));
      tls.destroy(error);
    });
    tls.on('error', (error: NodeJS.ErrnoException) => reject(handshakeFailure(error, identity)));
    tls.once('end', () => reject(clientClosed('the client closed', identity)));
    tls.once('close', () => reject(clientClosed('the connection was closed', identity)));
    tls.once('secure', () => resolve({ tls, trace: trace() }));
  });
}

function handshakeFailure(error: NodeJS.ErrnoException, identity: Identity): ProxyError {
  const options = { cause: error };
  if (error.code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE') {
    const message = `expected a client certificate of ${identity.trustDomain}, found none`;
    return new ProxyError('DOWNSTREAM_UNTRUSTED', message, options);
  }
  if (refusalByAlert(error)) return clientClosed(`the client refused it (${tlsReason(error)})`, identity, options);
  if (error.code?.startsWith('ERR_SSL_') !== true) return clientClosed(tlsReason(error), identity, options);
  return new ProxyError('DOWNSTREAM_UNTRUSTED', `expected a TLS handshake, found ${tlsReason(error)}`, options);
}

function clientClosed(what: string, identity: Identity, options?: ErrorOptions): ProxyError {
  const message = `${what} during the handshake, shown the certificate of ${describeIdentity(identity)}`;
  return new ProxyError('DOWNSTREAM_RESET', message, options);
}

function clientOf(tls: TLSSocket, identity: Identity, raw: Socket): ServerHandshake {
  const caller = callerBehind(tls, identity);
  if (typeof caller === 'string') {
    // Resets the connection: after an orderly close, the client would assume success.
    if (raw.remoteAddress !== undefined) raw.resetAndDestroy();
    throw new ProxyError('DOWNSTREAM_UNTRUSTED', caller);
  }
  const serverName = serverNameOf(tls);
  const supportedVersions = [tls.getProtocol() === 'TLSv1.2' ? TLS_1_2 : TLS_1_3];
  return { caller, hello: { protocol: 'tls', ...(serverName === undefined ? {} : { serverName }), supportedVersions } };
}

const TLS_1_2 = 0x0303;
const TLS_1_3 = 0x0304;

/** Returns the caller, or why it is rejected. Fails closed: a missing value is a reason to reject. */
function callerBehind(tls: TLSSocket, identity: Identity): Caller | string {
  const certificate = tls.getPeerX509Certificate();
  if (certificate === undefined) return `expected a client certificate of ${identity.trustDomain}, found none`;
  const refused = verifyError(tls);
  if (refused !== undefined) {
    const expected = `expected a client certificate issued by a root of ${identity.trustDomain}`;
    return `${expected}, found ${describeCertificate(certificate)}: ${tlsReason(refused)}`;
  }
  const service = callerOf(certificate, identity);
  return service.kind === 'service' ? service : `the client certificate: ${service.reason}`;
}

/** Returns the SNI if it is a host name. The name is only logged. */
function serverNameOf({ servername }: { readonly servername?: string | false | null }): string | undefined {
  if (typeof servername !== 'string' || !/^[a-z0-9_.-]{1,253}$/i.test(servername)) return undefined;
  return servername.toLowerCase().replace(/\.$/, '');
}
