import { connect as netConnect } from 'node:net';
import type { Socket } from 'node:net';
import { checkServerIdentity, connect as tlsConnect } from 'node:tls';
import type { PeerCertificate } from 'node:tls';
import { unixPath } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';

/** What came of one attempt to reach a backend as a client of `serverName` would. */
export type Probe =
  /** TLS was negotiated. */
  | {
      readonly kind: 'tls';
      readonly subject: string;
      readonly validFrom: Date;
      readonly validTo: Date;
      /** It is for other host names than the one that was asked for; a certificate of a mesh is for none. */
      readonly isForOthers: boolean;
    }
  /** TLS was answered with an alert: `unrecognized name` … */
  | { readonly kind: 'alert'; readonly alert: string }
  /** Something else than TLS was answered. */
  | { readonly kind: 'not-tls' }
  /** It accepted, and closed without an answer. */
  | { readonly kind: 'closed' }
  /** It accepted, and did not answer in time. */
  | { readonly kind: 'silent' }
  /** No connection came to stand; the code of the system, or `ETIMEDOUT`. */
  | { readonly kind: 'unreachable'; readonly code: string };

/** Longest wait for an answer, in milliseconds: once for the connection, once for TLS. */
const PATIENCE_MS = 2_000;

/**
 * Connects to `address` and begins TLS for `serverName`, which is never finished: no certificate is presented, and none that is presented is
 * trusted. Never rejects.
 *
 * @param address an address or a unix socket, or a name that the system resolves
 */
export async function probe(address: Endpoint, serverName: string, size: HelloSize = 'usual'): Promise<Probe> {
  const connected = await connection(address);
  return typeof connected === 'string'
    ? { kind: 'unreachable', code: connected }
    : handshakeOver(connected, serverName, size);
}

/** `large`: a ClientHello that takes several packets, as those of clients with keys of the future do. */
export type HelloSize = 'usual' | 'large';

/** Names that nobody speaks, as long as they may be (RFC 7301, section 3.1): three kilobytes. */
const PADDING = Array.from({ length: 12 }, (_, index) => String.fromCharCode(97 + index).repeat(255));

/** The socket, or why there is none. */
function connection(address: Endpoint): Promise<Socket | string> {
  const path = unixPath(address);
  const host = address.host.replace(/^\[|\]$/g, '');
  const socket = path === undefined ? netConnect({ host, port: address.port }) : netConnect(path);
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      socket.destroy();
      resolve('ETIMEDOUT');
    }, PATIENCE_MS);
    socket.once('connect', () => {
      clearTimeout(timer);
      resolve(socket);
    });
    socket.on('error', (reason: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      resolve(reason.code ?? reason.message);
    });
  });
}

function handshakeOver(socket: Socket, serverName: string, size: HelloSize): Promise<Probe> {
  const padding = size === 'large' ? { ALPNProtocols: PADDING } : {};
  // What is asked is who answers; nothing is ever sent to whoever that is.
  const tls = tlsConnect({ socket, servername: serverName, rejectUnauthorized: false, ...padding });
  return new Promise((resolve) => {
    const timer = setTimeout(() => settle({ kind: 'silent' }), PATIENCE_MS);
    tls.once('secureConnect', () => settle(identityOf(tls.getPeerCertificate(), serverName)));
    tls.once('error', (reason: NodeJS.ErrnoException) => settle(failureOf(reason)));
    tls.once('close', () => settle({ kind: 'closed' }));

    function settle(outcome: Probe): void {
      clearTimeout(timer);
      tls.destroy();
      socket.destroy();
      resolve(outcome);
    }
  });
}

function identityOf(certificate: PeerCertificate, serverName: string): Probe {
  const { subject, subjectaltname, valid_from: validFrom, valid_to: validTo } = certificate;
  const names = subjectaltname?.split(', ').map((name) => name.replace(/^(?:DNS|URI|IP Address):/, '')) ?? [];
  const commonName = (subject as { readonly CN?: string } | undefined)?.CN;
  const shown = names.length > 0 ? names.slice(0, MAX_NAMES).join(', ') : (commonName ?? 'nobody by name');
  const isForHosts = subjectaltname?.includes('DNS:') === true && !subjectaltname.includes('URI:spiffe:');
  const isForOthers = isForHosts && checkServerIdentity(serverName, certificate) !== undefined;
  return { kind: 'tls', subject: shown, validFrom: new Date(validFrom), validTo: new Date(validTo), isForOthers };
}

/** Of a certificate for hundreds of names nobody reads all. */
const MAX_NAMES = 3;

function failureOf({ code = '', message }: NodeJS.ErrnoException): Probe {
  // `ERR_SSL_TLSV1_UNRECOGNIZED_NAME`, `ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE` …
  const alert = /^ERR_SSL_(?:TLSV1|SSLV3|TLSV13)_(?:ALERT_)?(?<alert>[A-Z_]+)$/.exec(code)?.groups?.['alert'];
  if (alert !== undefined) return { kind: 'alert', alert: alert.toLowerCase().replaceAll('_', ' ') };
  if (code.startsWith('ERR_SSL_')) return { kind: 'not-tls' };
  return code === 'ECONNRESET' || code === 'EPIPE' || message.includes('disconnected')
    ? { kind: 'closed' }
    : { kind: 'not-tls' };
}
