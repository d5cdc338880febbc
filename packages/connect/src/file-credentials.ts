import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { pause } from '@meshgate/core';
import { parseSpiffeId } from '@meshgate/mesh';
import type { Credentials, CredentialsSource } from '@meshgate/mesh';

/** Files in PEM. */
export interface CredentialFiles {
  /** The roots. */
  readonly ca: string;
  /** The leaf, and every certificate between it and a root. */
  readonly cert: string;
  /** The leaf's private key. */
  readonly key: string;
  /** The one of the certificate when absent. */
  readonly trustDomain?: string;
  /** Unique within the proxy; `credentials` when absent. */
  readonly name?: string;
}

/** Credentials from files, read again every second: whoever renews them may replace files, links or whole folders. */
export function fileCredentials(files: CredentialFiles): CredentialsSource {
  return { name: files.name ?? 'credentials', watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<Credentials, void, void> {
    let last: string | undefined;
    while (!signal.aborted) {
      const credentials = await read(files);
      const text = JSON.stringify(credentials);
      // A certificate is written before its key or after it: what does not match yet will soon.
      if (text !== last && (last === undefined || isPair(credentials))) {
        last = text;
        yield credentials;
      }
      await pause(REREAD_MS, signal);
    }
  }
}

// Three small files: nothing for a disk, and soon enough for certificates that are renewed hours before they expire.
const REREAD_MS = 1_000;

async function read({ ca, cert, key, trustDomain }: CredentialFiles): Promise<Credentials> {
  const [root, certificate, privateKey] = await Promise.all([ca, cert, key].map((file) => readFile(file, 'utf8')));
  if (root === undefined || certificate === undefined || privateKey === undefined)
    throw new Error('expected three files, found fewer');
  return { certificate, privateKey, roots: [root], trustDomain: trustDomain ?? trustDomainIn(certificate, cert) };
}

function trustDomainIn(certificate: string, file: string): string {
  const { subjectAltName = '' } = new X509Certificate(certificate);
  const uri = /URI:(spiffe:[^,"]+)/.exec(subjectAltName)?.[1];
  const id = parseSpiffeId(uri ?? '');
  if (id.kind === 'service') return id.trustDomain;
  throw new Error(
    `${file}: expected a certificate with the SPIFFE URI of a service, found ${subjectAltName || 'none'}`,
  );
}

function isPair({ certificate, privateKey }: Credentials): boolean {
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(privateKey));
  } catch {
    return false;
  }
}
