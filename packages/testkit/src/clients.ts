import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { ConnectionOptions, PeerCertificate, SecureVersion, TLSSocket } from 'node:tls';
import { unixPath } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { peer } from './peer.ts';
import type { Peer, PeerOptions } from './peer.ts';

/** Connects by TCP or to a unix socket, without TLS. Rejects with the system's error. */
export async function rawClient(to: Endpoint, options: PeerOptions = {}): Promise<Peer> {
  return peer(await connected(to), options);
}

/** Settings of a {@link TlsClient}. */
export interface TlsClientOptions extends PeerOptions {
  /**
   * Authorities that the server's certificate must be issued by (PEM). When absent, the certificate is reported but not
   * verified.
   */
  readonly ca?: string | readonly string[];
  /** Protocols offered by ALPN. */
  readonly alpn?: readonly string[];
  /** The client's own certificate chain and key (PEM), for mutual TLS. */
  readonly identity?: { readonly chain: string; readonly privateKey: string };
  /** Minimum TLS version; Node's default when absent. */
  readonly minVersion?: SecureVersion;
  /** Maximum TLS version; Node's default when absent. */
  readonly maxVersion?: SecureVersion;
  /** Session of an earlier client, to be resumed. */
  readonly session?: Buffer;
}

/** A TLS client after its handshake. */
export interface TlsClient extends Peer {
  /** Protocol negotiated by ALPN, if any. */
  readonly alpn: string | undefined;
  /** `TLSv1.3` or `TLSv1.2`. */
  readonly protocol: string;
  /** Common name of the server's certificate: the name of a {@link tlsBackend}. */
  readonly serverCertificateName: string;
  /** The server's certificate, as `node:tls` describes it. */
  readonly serverCertificate: PeerCertificate;
  /** Whether a session was resumed. */
  readonly resumed: boolean;
  /** Sends `text` and resolves with the same number of received bytes: the response of an echo. */
  echo(text: string): Promise<string>;
  /**
   * Sends a GET request and resolves with the response body. The backends of this package respond with their name, and
   * finish.
   */
  get(path?: string): Promise<string>;
}

/**
 * Connects to `to`, a proxy or the server itself, and requests `serverName`. Resolves after the handshake; rejects with
 * the system's or OpenSSL's error if it fails.
 *
 * @param serverName sent in the ClientHello; `undefined` omits the extension
 */
export async function tlsClient(
  to: Endpoint,
  serverName: string | undefined,
  options: TlsClientOptions = {},
): Promise<TlsClient> {
  const raw = await connected(to);
  // Half-open like `raw`: Node takes that setting from the given socket, not from the options.
  const tls = connectTls({ socket: raw, ...tlsOptions(serverName, options) });
  try {
    await once(tls, 'secureConnect');
  } catch (reason) {
    raw.destroy();
    throw reason;
  }
  return client(tls, peer(tls, options, raw));
}

async function connected(to: Endpoint): Promise<Socket> {
  const path = unixPath(to);
  const where = path === undefined ? { host: to.host, port: to.port } : { path };
  const socket = connectTcp({ ...where, allowHalfOpen: true, noDelay: path === undefined });
  await once(socket, 'connect');
  return socket;
}

function tlsOptions(serverName: string | undefined, options: TlsClientOptions): ConnectionOptions {
  const { ca, alpn, identity, minVersion, maxVersion, session } = options;
  return {
    rejectUnauthorized: ca !== undefined,
    ...(serverName === undefined ? {} : { servername: serverName }),
    ...(ca === undefined ? {} : { ca: [ca].flat() }),
    ...(alpn === undefined ? {} : { ALPNProtocols: [...alpn] }),
    ...(identity === undefined ? {} : { cert: identity.chain, key: identity.privateKey }),
    ...(minVersion === undefined ? {} : { minVersion }),
    ...(maxVersion === undefined ? {} : { maxVersion }),
    ...(session === undefined ? {} : { session }),
  };
}

function client(tls: TLSSocket, stream: Peer): TlsClient {
  const serverCertificate = tls.getPeerCertificate();
  const facts = {
    alpn: typeof tls.alpnProtocol === 'string' ? tls.alpnProtocol : undefined,
    protocol: tls.getProtocol() ?? 'none',
    serverCertificate,
    serverCertificateName: [serverCertificate.subject.CN].flat()[0] ?? '',
    resumed: tls.isSessionReused(),
  };
  return Object.assign(stream, { ...facts, echo, get });

  async function echo(text: string): Promise<string> {
    await stream.send(text);
    return (await stream.receive(Buffer.byteLength(text))).toString();
  }

  async function get(path = '/'): Promise<string> {
    await stream.send(`GET ${path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n`);
    const response = (await stream.receiveAll()).toString();
    const [, body] = response.split('\r\n\r\n', 2);
    if (body === undefined) throw new Error(`expected an HTTP response, found '${response}'`);
    return body;
  }
}
