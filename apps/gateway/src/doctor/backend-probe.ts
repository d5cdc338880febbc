import { connect as netConnect } from 'node:net';
import type { Socket } from 'node:net';
import { checkServerIdentity, connect as tlsConnect } from 'node:tls';
import type { PeerCertificate } from 'node:tls';
import { unixPath } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';

/** Result of one attempt to reach a backend as a client of `serverName` would. */
export type Probe =
  /** TLS was negotiated. */
  | {
      readonly kind: 'tls';
      readonly subject: string;
      readonly validFrom: Date;
      readonly validTo: Date;
      /** The certificate is for other host names than the requested one; a certificate of a mesh is for none. */
      readonly isForOthers: boolean;
    }
  /** TLS alert: `unrecognized name` … */
  | { readonly kind: 'alert'; readonly alert: string }
  /** The response was not TLS. */
  | { readonly kind: 'not-tls' }
  /** It accepted, and closed without a response. */
  | { readonly kind: 'closed' }
  /** It accepted, and did not respond in time. */
  | { readonly kind: 'silent' }
  /** No connection; the system's error code, or `ETIMEDOUT`. */
  | { readonly kind: 'unreachable'; readonly code: string };

/** Timeout in milliseconds: once for the connection, once for TLS. */
const PATIENCE_MS = 2_000;

/**
 * Connects to `address` and starts a TLS handshake for `serverName`, without finishing it: no client certificate is
 * presented, and no server certificate is trusted. Never rejects.
 *
 * @param address an address or a unix socket, or a name that the system resolves
 */
export async function probe(address: Endpoint, serverName: string, size: HelloSize = 'usual'): Promise<Probe> {
  const connected = await connection(address);
  return typeof connected === 'string'
    ? { kind: 'unreachable', code: connected }
    : handshakeOver(connected, serverName, size);
}

/** `large`: a ClientHello that spans several packets, as post-quantum key shares do. */
export type HelloSize = 'usual' | 'large';

/** Unknown protocol names of maximum length (RFC 7301, section 3.1): three kilobytes. */
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
  // The probe only asks who responds; it never sends application data.
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
  const shown = names.length > 0 ? names.slice(0, MAX_NAMES).join(', ') : (commonName ?? 'an unnamed subject');
  const isForHosts = subjectaltname?.includes('DNS:') === true && !subjectaltname.includes('URI:spiffe:');
  const isForOthers = isForHosts && checkServerIdentity(serverName, certificate) !== undefined;
  return { kind: 'tls', subject: shown, validFrom: new Date(validFrom), validTo: new Date(validTo), isForOthers };
}

/** A certificate may list hundreds of names. */
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
