import { createPrivateKey } from 'node:crypto';
import type { X509Certificate } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigProblems, pause } from '@meshgate/core';
import { errorOf, readRegularFile, Refreshed } from '@meshgate/core/parts';
import { certificatesIn, isSameSpiffeId, parseSpiffeId, privateKeyIn, serviceIdentity } from '@meshgate/mesh';
import type { ChainTarget, Credentials, CredentialsSource, PeerTrust } from '@meshgate/mesh';
import { describeCertificate, serviceIn } from './certificate-identity.ts';

/** Credential files in PEM. */
export interface CredentialFiles {
  /** Root certificates: a file, or a folder of such files. */
  readonly ca: string;
  /** The leaf certificate, and all intermediates up to a root. */
  readonly cert: string;
  /** The private key of the leaf certificate. */
  readonly key: string;
  /** Root certificates of peers, by the peer's local name: files or folders. */
  readonly peers?: Readonly<Record<string, string>>;
  /** Trust domain; that of the leaf certificate when absent. */
  readonly trustDomain?: string;
  /** The service for which the leaf certificate must be issued; any when absent. */
  readonly owner?: Pick<ChainTarget, 'service' | 'datacenter'>;
  /** Name of the source, unique within the proxy; `credentials` when absent. */
  readonly name?: string;
}

/**
 * Reads credentials from files, again every second: a renewal may replace files, links or whole folders. A problem is
 * reported once two readings in a row have found it.
 */
export function fileCredentials(files: CredentialFiles): CredentialsSource {
  return { name: files.name ?? 'credentials', watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<Credentials, void, void> {
    const followed = new Refreshed(async () => {
      const contents = await readContents(files);
      return { stamp: JSON.stringify(contents), load: () => credentialsIn(contents, files) };
    });
    let last: Credentials | undefined;
    while (!signal.aborted) {
      const wasCurrent = followed.reading.state === 'current';
      const { state, value, error } = await followed.refresh();
      // A renewal writes certificate and key one after the other, so a mismatch is usually temporary.
      if (state === 'failing' && !wasCurrent) throw errorOf(error);
      if (value !== undefined && value !== last) yield value;
      last = value;
      await pause(REREAD_MS, signal);
    }
  }
}

/**
 * Reads credentials once.
 *
 * @throws ConfigProblems naming the file, the expected contents and those found
 */
export async function readCredentials(files: CredentialFiles): Promise<Credentials> {
  return credentialsIn(await readContents(files), files);
}

// Reading three small files is cheap, and certificates are renewed hours before they expire.
const REREAD_MS = 1_000;

interface FileContents {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly peers: readonly PeerTrust[];
}

async function readContents({ ca, cert, key, peers = {} }: CredentialFiles): Promise<FileContents> {
  const [root, certificate, privateKey] = await Promise.all([rootsAt(ca), textOf(cert), textOf(key)]);
  const trust = Object.entries(peers).map(async ([peer, path]) => ({ peer, roots: [await rootsAt(path)] }));
  return { ca: root, cert: certificate, key: privateKey, peers: await Promise.all(trust) };
}

/**
 * Reads every file of a folder. Skips hidden names, where Kubernetes keeps the targets of its links, folders and
 * dangling links. Fails for an unreadable file, which may hold the required root.
 */
async function rootsAt(path: string): Promise<string> {
  if ((await kindOf(path)) !== 'folder') return textOf(path);
  const names = (await readdir(path)).filter((name) => !name.startsWith('.')).toSorted();
  const contents = await Promise.all(
    names.map(async (name) => ((await kindOf(join(path, name))) === 'file' ? textOf(join(path, name)) : '')),
  );
  return contents.filter((text) => text.includes('-----BEGIN')).join('\n');
}

async function kindOf(path: string): Promise<'file' | 'folder' | 'other'> {
  const status = await stat(path, { bigint: true }).catch(() => undefined);
  if (status?.isDirectory() === true) return 'folder';
  return status?.isFile() === true ? 'file' : 'other';
}

async function textOf(file: string): Promise<string> {
  try {
    // Text between the certificates, such as the names of their holders, may be in any encoding.
    return await readRegularFile(file, { otherBytes: 'replace' });
  } catch (reason) {
    throw problem(file, `cannot be read: ${errorOf(reason).message}`);
  }
}

function problem(file: string, message: string): ConfigProblems {
  return new ConfigProblems([{ message, path: [], at: { file, line: 1, column: 1 } }]);
}

/** @throws ConfigProblems naming the file, the expected contents and those found */
function credentialsIn({ ca, cert, key, peers }: FileContents, files: CredentialFiles): Credentials {
  const [leaf] = completeChainIn(cert, files.cert);
  if (completeChainIn(ca, files.ca).length === 0)
    throw problem(files.ca, 'expected at least one root in PEM, found none');
  if (leaf === undefined) throw problem(files.cert, 'expected a certificate in PEM, found none');
  const trustDomain = files.trustDomain ?? trustDomainIn(leaf);
  const service = serviceIn(leaf, trustDomain);
  if (service.kind === 'unknown') throw problem(files.cert, service.reason);
  const owner = files.owner && serviceIdentity(files.owner, trustDomain);
  if (owner !== undefined && !isSameSpiffeId(owner, service.uri))
    throw problem(files.cert, `expected a certificate of ${owner}, found ${describeCertificate(leaf)}`);
  const privateKey = keyIn(key);
  if (privateKey === undefined)
    throw problem(files.key, 'expected a private key in PEM, without a password, found none');
  if (!leaf.checkPrivateKey(privateKey))
    throw problem(files.key, `expected the key of ${service.uri}, found that of another certificate`);
  const credentials = { certificate: cert, privateKey: key, roots: [ca], trustDomain };
  return peers.length === 0 ? credentials : { ...credentials, peers };
}

/** @throws ConfigProblems when a certificate is malformed: an incomplete chain cannot be used */
function completeChainIn(pem: string, file: string): readonly X509Certificate[] {
  try {
    return certificatesIn(pem);
  } catch (reason) {
    throw problem(file, errorOf(reason).message);
  }
}

function keyIn(pem: string): ReturnType<typeof createPrivateKey> | undefined {
  try {
    return createPrivateKey(privateKeyIn(pem) ?? pem);
  } catch {
    return undefined;
  }
}

/** Returns `''` for a certificate that is not a service's. */
function trustDomainIn({ subjectAltName = '' }: X509Certificate): string {
  const id = parseSpiffeId(/URI:(spiffe:[^,"]+)/.exec(subjectAltName)?.[1] ?? '');
  return id.kind === 'service' ? id.trustDomain : '';
}
