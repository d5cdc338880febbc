import { connect as netConnect } from 'node:net';
import type { Socket } from 'node:net';
import { checkServerIdentity, connect as tlsConnect } from 'node:tls';
import type { PeerCertificate } from 'node:tls';
import { unixPath } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';

/** The result of one attempt to reach a backend, as a client of `serverName` would. */
export type Probe =
  /** TLS was negotiated. */
  | {
      readonly kind: 'tls';
      readonly subject: string;
      readonly validFrom: Date;
      readonly validTo: Date;
      /**
       * The certificate is for other host names than the requested one. Always false for a mesh certificate, which has
       * none.
       */
      readonly isForOthers: boolean;
    }
  /** The backend sent a TLS alert: `unrecognized name` … */
  | { readonly kind: 'alert'; readonly alert: string }
  /** The response was not TLS. */
  | { readonly kind: 'not-tls' }
  /** The backend accepted, and closed without a response. */
  | { readonly kind: 'closed' }
  /** The backend accepted, and did not respond in time. */
  | { readonly kind: 'silent' }
  /** No connection; `code` is the system's error code, or `ETIMEDOUT`. */
  | { readonly kind: 'unreachable'; readonly code: string };

/** Timeout in milliseconds, for the connection and for TLS separately. */
const PATIENCE_MS = 2_000;

/**
 * Connects to `address` and starts a TLS handshake for `serverName`, which it does not finish: it presents no client
 * certificate, and trusts no server certificate. Never rejects.
 *
 * @param address an IP address, a unix socket, or a name that the system resolves
 */
export async function probe(address: Endpoint, serverName: string, size: HelloSize = 'usual'): Promise<Probe> {
  const connected = await connection(address);
  return typeof connected === 'string'
    ? { kind: 'unreachable', code: connected }
    : handshakeOver(connected, serverName, size);
}

/** Size of the ClientHello. `large` spans several packets, as with post-quantum key shares. */
export type HelloSize = 'usual' | 'large';

/** Unknown protocol names of maximum length (RFC 7301, section 3.1), three kilobytes in total. */
const PADDING = Array.from({ length: 12 }, (_, index) => String.fromCharCode(97 + index).repeat(255));

/** Returns the socket, or the code of the failure. */
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
  // Accepts any certificate, since the probe never sends application data.
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

/** Limit for certificates with hundreds of names. */
const MAX_NAMES = 3;

function failureOf({ code = '', message }: NodeJS.ErrnoException): Probe {
  // For example `ERR_SSL_TLSV1_UNRECOGNIZED_NAME` or `ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE`.
  const alert = /^ERR_SSL_(?:TLSV1|SSLV3|TLSV13)_(?:ALERT_)?(?<alert>[A-Z_]+)$/.exec(code)?.groups?.['alert'];
  if (alert !== undefined) return { kind: 'alert', alert: alert.toLowerCase().replaceAll('_', ' ') };
  if (code.startsWith('ERR_SSL_')) return { kind: 'not-tls' };
  return code === 'ECONNRESET' || code === 'EPIPE' || message.includes('disconnected')
    ? { kind: 'closed' }
    : { kind: 'not-tls' };
}
