import type { SecureContextOptions, SecureVersion } from 'node:tls';
import type { TlsSettings } from '@meshgate/mesh';

/**
 * Returns the TLS versions and cipher suites of one direction: TLS 1.2 or newer, forward secrecy and authenticated
 * encryption only, further restricted by configuration.
 *
 * @throws Error when no version or cipher suite remains
 */
export function tlsLimits({ minVersion = '', maxVersion = '', cipherSuites = [] }: TlsSettings = {}): Pick<
  SecureContextOptions,
  'minVersion' | 'maxVersion' | 'ciphers'
> {
  const [min, max] = [minVersion === NEWEST ? 'TLSv1.3' : 'TLSv1.2', maxVersionOf(maxVersion)] as const;
  if (min === 'TLSv1.3' && max === 'TLSv1.2')
    throw new Error(`expected a TLSMaxVersion of at least ${minVersion}, found ${maxVersion}`);
  const allowed = TLS_1_2.filter(([name]) => cipherSuites.length === 0 || cipherSuites.includes(name));
  if (allowed.length === 0 && max === 'TLSv1.2')
    throw new Error(`expected one of ${TLS_1_2.map(([name]) => name).join(', ')}, found ${cipherSuites.join(', ')}`);
  const ciphers = [...TLS_1_3, ...allowed.map(([, name]) => name)];
  // Without cipher suites for TLS 1.2 the version must be disabled, because OpenSSL would use its default suites.
  return { minVersion: allowed.length === 0 ? 'TLSv1.3' : min, maxVersion: max, ciphers: ciphers.join(':') };
}

const NEWEST = 'TLSv1_3';

/** @throws Error when the version is too old */
function maxVersionOf(text: string): SecureVersion {
  switch (text) {
    case '':
    case 'TLS_AUTO':
    case NEWEST:
      return 'TLSv1.3';
    case 'TLSv1_2':
      return 'TLSv1.2';
    default:
      throw new Error(`expected a TLSMaxVersion of TLSv1_2 or TLSv1_3, found ${text}`);
  }
}

// For TLS 1.2, the cipher suites of Consul's own proxies, by IANA and OpenSSL name; for TLS 1.3, all common ones.
const TLS_1_3 = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];
const TLS_1_2: readonly (readonly [iana: string, openSsl: string])[] = [
  ['TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
  ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256', 'ECDHE-RSA-AES128-GCM-SHA256'],
  ['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
  ['TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384', 'ECDHE-RSA-AES256-GCM-SHA384'],
  ['TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
  ['TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256', 'ECDHE-RSA-CHACHA20-POLY1305'],
];
