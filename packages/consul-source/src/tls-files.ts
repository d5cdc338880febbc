import { readdirSync, statSync } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { join } from 'node:path';
import { errorOf, readRegularFileSync, Refreshed } from '@meshgate/core/parts';
import { certificatesIn, privateKeyIn } from '@meshgate/mesh';
import { createSecureContext, TLSSocket } from 'node:tls';
import { buildConnector } from 'undici';

/**
 * PEM files for the connection to the agent, with absolute paths. Read at each new connection, so that they can be
 * renewed.
 */
export interface TlsFiles {
  /** Certificate authorities of the agent. */
  readonly caFile?: string;
  /** Folder with certificate authorities of the agent. */
  readonly caPath?: string;
  /** Client certificate. */
  readonly certFile?: string;
  /** Private key of `certFile`. */
  readonly keyFile?: string;
}

/** TLS material in PEM. */
interface TlsMaterial {
  readonly ca?: readonly string[];
  readonly cert?: string;
  readonly key?: string;
}

/**
 * Reads the files. Configured but missing authorities are an error: the system's are not used in their place.
 *
 * @throws Error naming the file that cannot be read, or lacks the expected contents
 */
function readTlsFiles({ caFile, caPath, certFile, keyFile }: TlsFiles): TlsMaterial {
  const ca = [
    ...(caFile === undefined ? [] : certificatesOf(caFile)),
    ...(caPath === undefined ? [] : someAuthoritiesIn(caPath)),
  ];
  return {
    ...(ca.length === 0 ? {} : { ca }),
    ...(certFile === undefined ? {} : { cert: certificatesOf(certFile).join('') }),
    ...(keyFile === undefined ? {} : { key: privateKeyOf(keyFile) }),
  };
}

/**
 * Returns the current problems of the files, by setting; for a certificate and a key that are each valid, also whether
 * they match.
 */
export function tlsProblems(files: TlsFiles): readonly { readonly key: keyof TlsFiles; readonly message: string }[] {
  const keys = ['caFile', 'caPath', 'certFile', 'keyFile'] as const;
  const single = keys.flatMap((key) => {
    const path = files[key];
    return path === undefined ? [] : whyNot(key, () => readTlsFiles({ [key]: path }));
  });
  if (single.length > 0 || Object.keys(files).length === 0) return single;
  return whyNot(files.certFile === undefined ? 'caFile' : 'certFile', () => {
    const { ca, ...own } = readTlsFiles(files);
    createSecureContext({ ...own, ...(ca === undefined ? {} : { ca: [...ca] }) });
  });
}

function whyNot(
  key: keyof TlsFiles,
  use: () => unknown,
): readonly { readonly key: keyof TlsFiles; readonly message: string }[] {
  try {
    use();
    return [];
  } catch (reason) {
    return [{ key, message: errorOf(reason).message }];
  }
}

/** Returns each certificate separately: OpenSSL only reads certificates that begin on a new line. */
function certificatesOf(file: string): readonly string[] {
  const certificates = readableIn(pemIn(file), file);
  if (certificates.length > 0) return certificates;
  throw new Error(`expected a certificate in PEM in ${file}, found none`);
}

/**
 * Returns the certificates in `pem`, each as its own text.
 *
 * @throws Error naming `file` when one of them is incomplete or invalid
 */
export function readableIn(pem: string, file: string): readonly string[] {
  try {
    return certificatesIn(pem).map(String);
  } catch (reason) {
    throw new Error(`${file}: ${errorOf(reason).message}`, { cause: reason });
  }
}

function privateKeyOf(file: string): string {
  const key = privateKeyIn(pemIn(file));
  if (key !== undefined) return key;
  throw new Error(`expected a private key in PEM in ${file}, found none`);
}

function someAuthoritiesIn(folder: string): readonly string[] {
  const certificates = authoritiesIn(folder).flatMap(({ file, text }) => readableIn(text, file));
  if (certificates.length > 0) return certificates;
  throw new Error(`expected certificates in PEM in ${folder}, found none`);
}

/**
 * Connects with the current files. Ignores files that are unreadable, or do not match because only some have been
 * replaced: the last usable material remains in use.
 */
export function followingConnector(files: TlsFiles, options: buildConnector.BuildOptions): buildConnector.connector {
  // A connector caches TLS sessions, so it is reused until the files change.
  const current = new Refreshed(() => ({
    stamp: stampOf(files),
    load: () => connectorWith(readTlsFiles(files), options),
  }));
  return (target, callback) => void connect(target, callback);

  async function connect(...[target, callback]: Parameters<buildConnector.connector>): Promise<void> {
    const { value: connector, error } = await current.refresh();
    if (connector === undefined) callback(errorOf(error), null);
    else connector(target, callback);
  }
}

/**
 * Returns a stamp that changes when one of the files is written or replaced. Cheaper than reading them: a folder like
 * the system's has hundreds of authorities.
 *
 * @throws Error of the system when one of them is missing
 */
function stampOf({ caFile, caPath, certFile, keyFile }: TlsFiles): string {
  const paths = [caFile, certFile, keyFile].filter((path) => path !== undefined);
  const inFolder = caPath === undefined ? [] : candidatesIn(caPath);
  return JSON.stringify(
    [...paths.map((path) => [path, statSync(path, { bigint: true })] as const), ...inFolder].map(lineOf),
  );
}

function lineOf([path, { dev, ino, size, mtimeNs, ctimeNs }]: readonly [string, BigIntStats]): string {
  return `${path} ${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
}

/** @throws Error of OpenSSL when certificate and key do not match */
function connectorWith({ ca, ...own }: TlsMaterial, options: buildConnector.BuildOptions): buildConnector.connector {
  const settings = { ...options, ...own, ...(ca === undefined ? {} : { ca: [...ca] }) };
  return buildConnector({ ...settings, secureContext: createSecureContext(settings) });
}

/** A file with certificate authorities. */
interface AuthorityFile {
  /** Path of the file. */
  readonly file: string;
  /** Contents, in PEM. */
  readonly text: string;
}

/**
 * Reads certificate authorities in PEM, from one file or from every file of a folder.
 *
 * @throws Error of the system when the path cannot be read
 */
export function authoritiesAt(path: string): readonly AuthorityFile[] {
  return statSync(path).isDirectory() ? authoritiesIn(path) : [{ file: path, text: pemIn(path) }];
}

/**
 * Skips hidden names (Kubernetes keeps the targets of its links there), folders, dangling links, and files that are not
 * PEM, such as the same certificates in DER.
 */
function authoritiesIn(folder: string): readonly AuthorityFile[] {
  return candidatesIn(folder)
    .map(([file]) => ({ file, text: pemIn(file) }))
    .filter(({ text }) => text.includes('-----BEGIN'));
}

function candidatesIn(folder: string): readonly (readonly [string, BigIntStats])[] {
  const names = readdirSync(folder).filter((name) => !name.startsWith('.'));
  return names.toSorted().flatMap((name): readonly (readonly [string, BigIntStats])[] => {
    const path = join(folder, name);
    const status = statSync(path, { bigint: true, throwIfNoEntry: false });
    return status?.isFile() === true ? [[path, status]] : [];
  });
}

/** Replaces other bytes: text between the certificates, such as the names of their holders, may be in any encoding. */
function pemIn(path: string): string {
  return readRegularFileSync(path, { otherBytes: 'replace' });
}

/**
 * Wraps `connector` to report, at each new connection, when the certificates of both sides expire, as far as there are
 * any.
 */
export function informingConnector(
  connector: buildConnector.connector,
  onCertificate: (whose: 'agent' | 'client', validUntil: Date) => void,
): buildConnector.connector {
  return (target, callback) =>
    connector(target, (...outcome) => {
      const [, socket] = outcome;
      if (socket instanceof TLSSocket) {
        notify('agent', socket.getPeerCertificate());
        notify('client', socket.getCertificate());
      }
      callback(...outcome);
    });

  function notify(whose: 'agent' | 'client', certificate: object | null): void {
    const validTo = certificate !== null && 'valid_to' in certificate ? certificate.valid_to : undefined;
    if (typeof validTo === 'string') onCertificate(whose, new Date(validTo));
  }
}
