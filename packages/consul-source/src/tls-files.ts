import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { buildConnector } from 'undici';

/** PEM files for the connection to the agent, as absolute paths. Read again at each new connection: whoever renews them may replace them. */
export interface TlsFiles {
  /** Certificate authorities. */
  readonly caFile?: string;
  /** A folder of certificate authorities. */
  readonly caPath?: string;
  /** Client certificate. */
  readonly certFile?: string;
  /** Private key of `certFile`. */
  readonly keyFile?: string;
}

/** What TLS is to use, in PEM. */
interface TlsMaterial {
  readonly ca?: readonly string[];
  readonly cert?: string;
  readonly key?: string;
}

/** @throws Error of the system when a file cannot be read */
export function readTlsFiles({ caFile, caPath, certFile, keyFile }: TlsFiles): TlsMaterial {
  const ca = [
    ...(caFile === undefined ? [] : [readText(caFile)]),
    ...(caPath === undefined ? [] : authoritiesIn(caPath)),
  ];
  return {
    ...(ca.length === 0 ? {} : { ca }),
    ...(certFile === undefined ? {} : { cert: readText(certFile) }),
    ...(keyFile === undefined ? {} : { key: readText(keyFile) }),
  };
}

/**
 * Connects with the files of the moment. What cannot be read, or does not fit together because only half of it has been replaced yet, is
 * passed over: the last material that could be used goes on.
 */
export function followingConnector(files: TlsFiles, options: buildConnector.BuildOptions): buildConnector.connector {
  let last: { readonly text: string; readonly connect: buildConnector.connector } | undefined;
  return (target, callback) => {
    const next = connectorOf(files, options, last);
    try {
      next.connect(target, callback);
      last = next;
    } catch (reason) {
      if (last === undefined || last === next) throw reason;
      last.connect(target, callback);
    }
  };
}

interface KeptConnector {
  readonly text: string;
  readonly connect: buildConnector.connector;
}

/** A connector remembers its TLS sessions, so it is kept for as long as nothing has changed. */
function connectorOf(
  files: TlsFiles,
  options: buildConnector.BuildOptions,
  last: KeptConnector | undefined,
): KeptConnector {
  try {
    const { ca, ...own } = readTlsFiles(files);
    const text = JSON.stringify({ ca, ...own });
    if (text === last?.text) return last;
    return { text, connect: buildConnector({ ...options, ...own, ...(ca === undefined ? {} : { ca: [...ca] }) }) };
  } catch (reason) {
    if (last === undefined) throw reason;
    return last;
  }
}

/**
 * Certificate authorities in PEM: of a file, or of every file of a folder.
 *
 * @throws Error of the system when it cannot be read
 */
export function authoritiesAt(path: string): readonly string[] {
  return statSync(path).isDirectory() ? authoritiesIn(path) : [readText(path)];
}

/** Hidden names are left out: Kubernetes keeps there what its links point to. So are folders, and links to nothing. */
function authoritiesIn(folder: string): readonly string[] {
  const names = readdirSync(folder).filter((name) => !name.startsWith('.'));
  const paths = names.toSorted().map((name) => join(folder, name));
  const texts = paths
    .filter((path) => statSync(path, { bigint: true, throwIfNoEntry: false })?.isFile() === true)
    .map(readText);
  return texts.filter((text) => text.includes('-----BEGIN'));
}

function readText(file: string): string {
  return readFileSync(file, 'utf8');
}
