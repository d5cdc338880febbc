import { createServer as createTcpServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { SecureVersion, TlsOptions } from 'node:tls';
import type { Endpoint } from '@meshgate/core';
import { bind, LOOPBACK, unbind } from './bind.ts';
import { Changes } from './changes.ts';
import { certificateAuthority } from './certificates.ts';
import type { CertificateAuthority, IssuedCertificate } from './certificates.ts';
import { behave, endsBeforeTls } from './conduct.ts';
import type { Conduct } from './conduct.ts';

/** A listening server. Disposing of it resets its remaining connections. */
export interface TestBackend extends AsyncDisposable {
  readonly name: string;
  /** The address that it listens on. */
  readonly address: Endpoint;
  /** TCP connections accepted so far. */
  readonly accepted: number;
  /** Open TCP connections. */
  readonly open: number;
  /** Resolves once `count` connections have been accepted in total. */
  untilAccepted(count: number): Promise<void>;
  /** Resolves when no connection is open. */
  untilIdle(): Promise<void>;
}

/** A {@link TestBackend} with TLS. */
export interface TlsTestBackend extends TestBackend {
  /** The `ca` for clients that trust it (PEM). */
  readonly ca: string;
  /** The requested server names, one per completed handshake; '' if the client sent none. */
  readonly serverNames: readonly string[];
}

/** Settings of a backend. */
export interface BackendOptions {
  /** Any free port of 127.0.0.1 when absent. May be a unix socket or `::1`. */
  readonly at?: Endpoint;
  /** `echo` when absent. */
  readonly conduct?: Conduct;
}

/** Settings of a TLS backend. */
export interface TlsBackendOptions extends BackendOptions {
  /** Issues the certificate. A new authority when absent. */
  readonly authority?: CertificateAuthority;
  /** Used instead of a certificate for the backend's name, issued by `authority`. */
  readonly identity?: IssuedCertificate;
  /** Protocols accepted by ALPN, in order of preference. */
  readonly alpn?: readonly string[];
  /** Requires a client certificate from this authority (PEM). None is requested when absent. */
  readonly clientCa?: string;
  /** Minimum TLS version; Node's default when absent. */
  readonly minVersion?: SecureVersion;
  /** Maximum TLS version; Node's default when absent. */
  readonly maxVersion?: SecureVersion;
}

/** Starts a TLS server with a certificate for `name`, whose responses contain that name: the target of a route. */
export async function tlsBackend(name: string, options: TlsBackendOptions = {}): Promise<TlsTestBackend> {
  const { conduct = ECHO, authority = certificateAuthority(`authority of ${name}`) } = options;
  const serverNames: string[] = [];
  // By the client's port: TLS does not expose its TCP connection, which is the one to reset.
  const raws = new Map<number | undefined, Socket>();
  const tls = createTlsServer(tlsOptions(name, authority, options));
  tls.on('secureConnection', (socket) => {
    serverNames.push(socket.servername || '');
    behave(conduct, socket, name, raws.get(socket.remotePort) ?? socket);
  });
  tls.on('tlsClientError', (_error, socket) => socket.destroy());
  const backend = await listen(name, options, (socket) => {
    if (endsBeforeTls(conduct)) behave(conduct, socket, name, socket);
    else {
      const { remotePort } = socket;
      raws.set(remotePort, socket);
      socket.once('close', () => raws.delete(remotePort));
      tls.emit('connection', socket);
    }
  });
  return Object.assign(backend, { ca: authority.certificate, serverNames });
}

/** Starts a server without TLS. */
export function tcpBackend(name: string, options: BackendOptions = {}): Promise<TestBackend> {
  const { conduct = ECHO } = options;
  return listen(name, options, (socket) => behave(conduct, socket, name, socket));
}

const ECHO: Conduct = { kind: 'echo' };

function tlsOptions(name: string, authority: CertificateAuthority, options: TlsBackendOptions): TlsOptions {
  const { alpn, clientCa, minVersion, maxVersion } = options;
  const { chain, privateKey } = options.identity ?? authority.issue({ dnsNames: [name] });
  return {
    cert: chain,
    key: privateKey,
    allowHalfOpen: true,
    ...(alpn === undefined ? {} : { ALPNProtocols: [...alpn] }),
    ...(clientCa === undefined ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: true }),
    ...(minVersion === undefined ? {} : { minVersion }),
    ...(maxVersion === undefined ? {} : { maxVersion }),
  };
}

async function listen(
  name: string,
  { at = LOOPBACK }: BackendOptions,
  onConnection: (socket: Socket) => void,
): Promise<TestBackend> {
  const server = createTcpServer({ allowHalfOpen: true, noDelay: true });
  const sockets = new ConnectionCount(server);
  server.on('connection', onConnection);
  const address = await bind(server, at);
  return new ListeningBackend(name, address, server, sockets);
}

/** The connections of a server, with waits for their number. */
class ConnectionCount {
  readonly sockets = new Set<Socket>();
  readonly #changes = new Changes();
  #accepted = 0;

  constructor(server: Server) {
    server.on('connection', (socket) => this.#onConnection(socket));
  }

  get accepted(): number {
    return this.#accepted;
  }

  async when(holds: () => boolean): Promise<void> {
    await this.#changes.until(() => (holds() ? true : undefined));
  }

  #onConnection(socket: Socket): void {
    this.#accepted += 1;
    this.sockets.add(socket);
    // A reset by the peer is intended by the test, and reported by that end of the stream.
    socket.on('error', () => undefined);
    socket.once('close', () => {
      this.sockets.delete(socket);
      this.#changes.announce();
    });
    this.#changes.announce();
  }
}

class ListeningBackend implements TestBackend {
  readonly name: string;
  readonly address: Endpoint;
  readonly #server: Server;
  readonly #connections: ConnectionCount;

  constructor(name: string, address: Endpoint, server: Server, connections: ConnectionCount) {
    this.name = name;
    this.address = address;
    this.#server = server;
    this.#connections = connections;
  }

  get accepted(): number {
    return this.#connections.accepted;
  }

  get open(): number {
    return this.#connections.sockets.size;
  }

  untilAccepted(count: number): Promise<void> {
    return this.#connections.when(() => this.accepted >= count);
  }

  untilIdle(): Promise<void> {
    return this.#connections.when(() => this.open === 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#connections.sockets) {
      // A connection that is closing cannot be reset: Node would never close it.
      if (socket.remoteAddress === undefined || socket.writableEnded) socket.destroy();
      else socket.resetAndDestroy();
    }
    if (this.#server.listening) await unbind(this.#server);
    await this.untilIdle();
  }
}
