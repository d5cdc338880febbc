import { readdirSync, statSync } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { join } from 'node:path';
import { createPrivateKey, X509Certificate } from 'node:crypto';
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
  readonly ca?: string[];
  readonly cert?: string;
  readonly key?: string;
}

/**
 * Reads the files. Configured but missing authorities are an error: the system's are not used in their place.
 *
 * @throws Error naming the file that cannot be read, lacks the expected contents, or does not match the other
 */
function readTlsFiles(files: TlsFiles): TlsMaterial {
  const material = contentsOf(files);
  expectPair(material, files);
  // Whatever else OpenSSL refuses is found here, and not at the next connection.
  createSecureContext(material);
  return material;
}

/** @throws Error when the key is not the one of the certificate: OpenSSL's message does not name the files */
function expectPair({ cert, key }: TlsMaterial, { certFile, keyFile }: TlsFiles): void {
  if (cert === undefined || key === undefined) return;
  // Of a chain, the first certificate is parsed.
  if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)))
    throw new Error(`expected the key of the certificate in ${certFile}, found another in ${keyFile}`);
}

function contentsOf({ caFile, caPath, certFile, keyFile }: TlsFiles): TlsMaterial {
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
    return path === undefined ? [] : whyNot(key, () => contentsOf({ [key]: path }));
  });
  if (single.length > 0 || Object.keys(files).length === 0) return single;
  return whyNot(files.certFile === undefined ? 'caFile' : 'certFile', () => readTlsFiles(files));
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
  const pem = privateKeyIn(pemIn(file));
  if (pem === undefined) throw new Error(`expected a private key in PEM in ${file}, found none`);
  if (pem.includes('ENCRYPTED'))
    throw new Error(`expected a private key without a password in ${file}, found an encrypted one`);
  try {
    createPrivateKey(pem);
    return pem;
  } catch (reason) {
    throw new Error(`${file}: the private key cannot be read: ${errorOf(reason).message}`, { cause: reason });
  }
}

function someAuthoritiesIn(folder: string): readonly string[] {
  const certificates = authoritiesIn(folder).flatMap(({ file, text }) => readableIn(text, file));
  if (certificates.length > 0) return certificates;
  throw new Error(`expected certificates in PEM in ${folder}, found none`);
}

/** Material by the options that name its files, for all connections to the agent with these options. */
const FOLLOWED = new WeakMap<TlsFiles, Refreshed<TlsMaterial>>();

/** Ignores files that are unusable, or do not match because only some have been replaced: the last material stays. */
function followed(files: TlsFiles): Refreshed<TlsMaterial> {
  const known =
    FOLLOWED.get(files) ?? new Refreshed(() => ({ stamp: stampOf(files), load: () => readTlsFiles(files) }));
  FOLLOWED.set(files, known);
  return known;
}

/** Connects with the current files, or with the last usable ones. */
export function followingConnector(files: TlsFiles, options: buildConnector.BuildOptions): buildConnector.connector {
  const material = followed(files);
  // A connector caches TLS sessions, so it is reused until the files change.
  let built: { readonly of: TlsMaterial; readonly connector: buildConnector.connector } | undefined;
  return (target, callback) => void connect(target, callback);

  async function connect(...[target, callback]: Parameters<buildConnector.connector>): Promise<void> {
    const { value, error } = await material.refresh();
    if (value === undefined) return callback(errorOf(error), null);
    if (built?.of !== value) built = { of: value, connector: connectorWith(value, options) };
    built.connector(target, callback);
  }
}

/** Reports TLS files that have become unusable: connections to the agent may last for hours. */
export class TlsFilesCheck {
  readonly #material: Refreshed<TlsMaterial>;
  readonly #onChange: () => void;
  #checkedAt = -Infinity;
  #wasFailing = false;
  #problem: string | undefined;

  /** @param onChange called whenever {@link problem} changes */
  constructor(files: TlsFiles, onChange: () => void) {
    this.#material = followed(files);
    this.#onChange = onChange;
  }

  /** Why the files are not used, while earlier contents are. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /**
   * Inspects the files, once a second at most. A renewal writes certificate and key one after the other, so only a
   * problem that two inspections in a row have found is reported.
   */
  async inspect(): Promise<void> {
    const now = performance.now();
    if (now - this.#checkedAt < CHECK_EVERY_MS) return;
    this.#checkedAt = now;
    const { state, value, error } = await this.#material.refresh();
    const isFailing = state === 'failing' && value !== undefined;
    const problem =
      isFailing && this.#wasFailing ? `TLS files, the last usable ones are used: ${errorOf(error).message}` : undefined;
    this.#wasFailing = isFailing;
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#onChange();
  }
}

const CHECK_EVERY_MS = 1_000;

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

function connectorWith(material: TlsMaterial, options: buildConnector.BuildOptions): buildConnector.connector {
  const settings = { ...options, ...material };
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
