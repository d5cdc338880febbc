import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { certificateAuthority } from '@meshgate/testkit';
import { describe, expect, it, onTestFinished } from 'vitest';
import { fileCredentials, readCredentials } from '../src/index.ts';
import type { CredentialFiles } from '../src/index.ts';
import { leafOf, TRUST_DOMAIN, uriOf } from './mesh.ts';

const root = certificateAuthority('root');
const intermediate = root.intermediate('secondary');
const [web, other] = [leafOf(root, 'web'), leafOf(root, 'web')];
const OWNER = { service: 'web', datacenter: 'dc1' };

interface FileContents {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

async function filesWith(contents: FileContents): Promise<CredentialFiles> {
  const folder = await mkdtemp(join(tmpdir(), 'meshgate-credentials-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const files = { ca: join(folder, 'ca.pem'), cert: join(folder, 'web.pem'), key: join(folder, 'web-key.pem') };
  const complete = { ca: root.certificate, cert: web.chain, key: web.privateKey, ...contents };
  for (const part of ['ca', 'cert', 'key'] as const) await writeFile(files[part], complete[part]);
  return { ...files, trustDomain: TRUST_DOMAIN, owner: OWNER };
}

describe('credentials in files', () => {
  it.each<[string, FileContents]>([
    ['with a leaf of a root', {}],
    [
      'with a leaf of a root that only peers trust, as while authorities change',
      { ca: certificateAuthority('old').certificate },
    ],
    [
      'with a chain over an intermediate',
      (({ chain: cert, privateKey: key }) => ({ cert, key }))(leafOf(intermediate, 'web')),
    ],
    [
      'with several roots and prose between them',
      { ca: `old:\n${certificateAuthority('old').certificate}\nnew:\n${root.certificate}` },
    ],
    [
      'with everything in one line behind the other',
      { ca: `${certificateAuthority('old').certificate.trim()}${root.certificate}`, key: `key: ${web.privateKey}` },
    ],
  ])('are loaded %s', async (_claim, contents) => {
    expect(await readCredentials(await filesWith(contents))).toMatchObject({ trustDomain: TRUST_DOMAIN });
  });

  it.each<[string, FileContents, 'ca' | 'cert' | 'key', string]>([
    ['an empty file of roots', { ca: '' }, 'ca', 'expected at least one root in PEM, found none'],
    ['a file of roots that is no PEM', { ca: 'garbage' }, 'ca', 'expected at least one root in PEM, found none'],
    [
      'roots of which the last is cut off',
      { ca: `${root.certificate}${certificateAuthority('old').certificate.slice(0, -40)}` },
      'ca',
      'expected the end of each of 2 certificates in PEM, found that of 1',
    ],
    ['a certificate that is none', { cert: 'garbage' }, 'cert', 'expected a certificate in PEM, found none'],
    [
      'a chain with a hole in it',
      { cert: `${web.chain}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n` },
      'cert',
      'certificate 2 in PEM cannot be read',
    ],
    [
      'a certificate of another service',
      { cert: leafOf(root, 'db').chain },
      'cert',
      `expected a certificate of ${uriOf('web')}, found that of ${uriOf('db')}`,
    ],
    [
      'a certificate of another datacenter',
      { cert: leafOf(root, 'web', { uris: [uriOf('web', 'dc2')] }).chain },
      'cert',
      `expected a certificate of ${uriOf('web')}, found that of ${uriOf('web', 'dc2')}`,
    ],
    [
      'a certificate of another trust domain',
      { cert: leafOf(root, 'web', { uris: [uriOf('web', 'dc1', 'other.consul')] }).chain },
      'cert',
      `expected an identity of ${TRUST_DOMAIN}, found ${uriOf('web', 'dc1', 'other.consul')}`,
    ],
    ['a key that is none', { key: 'garbage' }, 'key', 'expected a private key in PEM, without a password, found none'],
    [
      'the key of another certificate',
      { key: other.privateKey },
      'key',
      `expected the key of ${uriOf('web')}, found that of another certificate`,
    ],
  ])('are rejected: %s', async (_claim, contents, file, message) => {
    const files = await filesWith(contents);
    await expect(readCredentials(files)).rejects.toThrow(`${files[file]}:1:1: ${message}`);
  });

  it('are rejected with the name of an unreadable file', async () => {
    const files = await filesWith({});
    await rm(files.key);
    await expect(readCredentials(files)).rejects.toThrow(`${files.key}:1:1: cannot be read: ENOENT`);
    await expect(readCredentials({ ...files, key: tmpdir() })).rejects.toThrow(
      `${tmpdir()}:1:1: cannot be read: expected a regular file, found a folder`,
    );
  });

  it('may have comments in another encoding than UTF-8, also in a folder of roots', async () => {
    const files = await filesWith({});
    const folder = join(files.ca, '..', 'roots');
    await mkdir(folder);
    const commented = (pem: string): Buffer => Buffer.from(`friendlyName: M\u{FC}ller\n${pem}`, 'latin1');
    await writeFile(join(folder, 'root.pem'), commented(root.certificate));
    await writeFile(files.cert, commented(web.chain));
    await writeFile(files.key, commented(web.privateKey));
    const { roots } = await readCredentials({ ...files, ca: folder });
    expect(roots.join('')).toContain(root.certificate.trim());
  });

  it('are refused where a root in a folder cannot be read, rather than used without it', async () => {
    const files = await filesWith({});
    const folder = join(files.ca, '..', 'roots');
    await mkdir(folder);
    await writeFile(join(folder, 'root.pem'), root.certificate);
    await truncate(join(folder, 'root.pem'), 2 ** 30);
    await writeFile(join(folder, 'old.pem'), certificateAuthority('old').certificate);
    await expect(readCredentials({ ...files, ca: folder })).rejects.toThrow(
      `${join(folder, 'root.pem')}:1:1: cannot be read: expected at most`,
    );
  });

  it('that do not match are waited for, and reported when that does not change', async () => {
    const files = await filesWith({});
    const abort = new AbortController();
    const seen = fileCredentials(files).watch(abort.signal)[Symbol.asyncIterator]();
    expect((await seen.next()).value).toMatchObject({ privateKey: web.privateKey });
    await writeFile(files.key, other.privateKey);
    await expect(seen.next()).rejects.toThrow(`expected the key of ${uriOf('web')}, found that of another certificate`);
    abort.abort();
  });
});
