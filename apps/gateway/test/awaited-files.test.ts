// Files that others write: tokens and certificates may appear after the gateway has started, and a path may be anything
// but a file.
import { execFileSync, spawn } from 'node:child_process';
import { mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Endpoint } from '@meshgate/core';
import { certificateAuthority, standInAgent, tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { until } from './bad-night/night.ts';
import { folder, meshgate, readyDaemon, run, startGateway, TEST_CONFIG } from './daemon.ts';

const authority = certificateAuthority('agents');

describe('a token and a certificate that are written after the start', () => {
  it('delay the start: the log and /ready say so, --check rejects them, and the gateway is ready once they exist', async () => {
    await using backend = await tlsBackend('db');
    await using agent = await standInAgent();
    agent.change({
      services: [
        { name: 'db', port: 80 },
        { name: 'db-sidecar-proxy', kind: 'connect-proxy', destination: 'db', ...endpointOf(backend.address) },
      ],
    });
    await using files = await folder();
    await files.write('meshgate.yaml', {
      ...TEST_CONFIG,
      sources: [{ use: 'consul', address: agent.address, tokenFile: 'run/token', caFile: 'run/ca.pem' }],
    });
    const checked = await meshgate(['gateway', '--check'], files.path);
    expect(checked.status).toBe(2);
    expect(checked.stderr).toMatch(/^meshgate\.yaml:1:\d+: ENOENT.*ca\.pem/m);
    expect(checked.stderr).toMatch(/^meshgate\.yaml:1:\d+: the ACL token cannot be read from .*token: ENOENT/m);

    await using gateway = await startGateway(join(files.path, 'meshgate.yaml'), 'started');
    const waiting = gateway.lines.filter(({ msg }) => String(msg).startsWith('waiting for a file: '));
    expect(waiting.map(({ level, msg }) => [level, /ca\.pem|token/.exec(String(msg))?.[0]])).toEqual([
      ['warn', 'ca.pem'],
      ['warn', 'token'],
    ]);
    await until(async () => reasonsOf(await gateway.query('/ready')).includes('the ACL token cannot be read from'));
    await files.write('run/token', '');
    await until(async () => reasonsOf(await gateway.query('/ready')).includes('the file is empty'));
    await files.write('run/token', 'secret\n');
    await until(async () => reasonsOf(await gateway.query('/ready')).includes('ca.pem'));
    await files.write('run/ca.pem', authority.certificate);
    const ready = await gateway.logged('ready');
    const [address] = ready['listeners'] as { readonly host: string; readonly port: number }[];
    const { json } = await gateway.query('/routes');
    const [route] = (json as { routes: { serverNames: string[] }[] }).routes;
    await using client = await tlsClient(address ?? gateway.address, route?.serverNames[0] ?? '');
    expect(await client.echo('hello')).toBe('hello');
  });
});

describe('credentials of a sidecar without Consul that are written after the start', () => {
  it('delay the start in the same way', async () => {
    const trustDomain = '11111111-2222-3333-4444-555555555555.consul';
    const leaf = authority.issue({ uris: [`spiffe://${trustDomain}/ns/default/dc/dc1/svc/web`] });
    await using files = await folder({
      'mesh/dc1/web.hcl': 'service { name = "web", port = 1, connect { sidecar_service { port = 0 } } }',
    });
    await files.write('meshgate.yaml', {
      admin: { port: 0 },
      sources: [
        { use: 'file', mesh: 'mesh', datacenter: 'dc1', trustDomain, tls: { ca: 'ca', cert: 'cert', key: 'key' } },
      ],
    });
    const args = ['sidecar', '--sidecar-for', 'web', '--config', join(files.path, 'meshgate.yaml')];
    const { status, stderr } = await meshgate([...args, '--check']);
    expect([status, stderr.match(/(?:ca|cert|key):1:1: cannot be read: ENOENT/g)]).toEqual([
      2,
      expect.objectContaining({ length: 3 }),
    ]);
    await using sidecar = await readyDaemon(
      (node, main) => spawn(node, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] }),
      'started',
    );
    await sidecar.line(({ msg }) => String(msg).startsWith('waiting for a file: ') && String(msg).includes('key:1:1'));
    await until(async () => reasonsOf(await sidecar.query('/ready')).includes('no certificate yet'));
    await files.write('ca', authority.certificate);
    await files.write('cert', leaf.chain);
    await files.write('key', leaf.privateKey);
    await until(async () => !reasonsOf(await sidecar.query('/ready')).includes('certificate'));
  });
});

function endpointOf({ host: address, port }: Endpoint): { readonly address: string; readonly port: number } {
  return { address, port };
}

function reasonsOf({ json }: { readonly json: unknown }): string {
  return (json as { readonly reasons: readonly string[] }).reasons.join('; ');
}

const ODD: readonly (readonly [what: string, make: (path: string) => Promise<unknown>, words: RegExp])[] = [
  ['a pipe', (path) => Promise.resolve(execFileSync('mkfifo', [path])), /regular file|found a pipe|expected a file/],
  ['a device', (path) => symlink('/dev/zero', path), /regular file|found a device|expected a file/],
  ['a folder', (path) => mkdir(path), /regular file|found a folder|expected a file|expected at least one file/],
];

describe.runIf(process.platform === 'linux').each(ODD)('%s in the place of', (_what, make, words) => {
  it('every file that a configuration names is rejected by --check at once, with a reason', async () => {
    await using files = await folder();
    const locations = ['routes.yaml', 'mesh/dc1/db.hcl', 'deny.txt', 'mine.mjs'];
    await files.write('meshgate.yaml', {
      ...TEST_CONFIG,
      listeners: [{ name: 'main', address: '127.0.0.1', port: 0, access: { denyFile: 'deny.txt' } }],
      sources: [
        { use: 'file', path: 'routes.yaml' },
        { use: 'file', mesh: 'mesh', datacenter: 'dc1', trustDomain: 'x.consul' },
      ],
      plugins: ['./mine.mjs'],
    });
    await mkdir(join(files.path, 'mesh/dc1'), { recursive: true });
    for (const location of locations) await make(join(files.path, location));
    const { status, stderr } = await meshgate(['gateway', '--check'], files.path);
    expect(status).toBe(2);
    for (const location of locations) {
      const line = stderr.split('\n').find((one) => one.includes(location));
      // A folder is valid where routes or mesh files are expected, even an empty one.
      if (
        line === undefined &&
        words.source.includes('folder') &&
        !location.includes('.txt') &&
        !location.includes('.mjs')
      )
        continue;
      expect(line).toMatch(words);
    }
  });

  it('tokens, certificates and keys is rejected by --check, and reported by a running gateway', async () => {
    await using files = await folder();
    const settings = { caFile: 'ca', certFile: 'cert', keyFile: 'key', tokenFile: 'token' };
    await files.write('meshgate.yaml', {
      ...TEST_CONFIG,
      admin: { port: 0, tokenFile: 'admin-token' },
      sources: [{ use: 'consul', address: 'http://127.0.0.1:9', ...settings }],
    });
    for (const location of [...Object.values(settings), 'admin-token']) await make(join(files.path, location));
    const { status, stderr } = await meshgate(['gateway', '--check'], files.path);
    const lines = stderr.trimEnd().split('\n');
    expect([status, lines.length]).toEqual([2, 5]);
    for (const line of lines) expect(line).toMatch(words);
    await using gateway = await startGateway(join(files.path, 'meshgate.yaml'), 'started');
    await until(async () => words.test(reasonsOf(await gateway.query('/ready'))));
  });
});

describe.runIf(process.platform === 'linux')('a configuration', () => {
  const CONFIG = JSON.stringify({ ...TEST_CONFIG, sources: [{ use: 'consul' }] });

  it.each([
    ['out of a pipe', `printf '%s' '${CONFIG}' | "$0" "$1" gateway --check --config /dev/stdin`, 0, /OK/],
    ['without an end', '"$0" "$1" gateway --check --config /dev/zero', 2, /expected at most \d+ bytes/],
    ['in a folder', '"$0" "$1" gateway --check --config .', 2, /EISDIR/],
  ])('%s is read, or rejected with a reason', async (_claim, command, expected, words) => {
    await using files = await folder();
    const { status, stdout, stderr } = await shell(command, files.path);
    expect([status, stdout + stderr]).toEqual([expected, expect.stringMatching(words)]);
    await rm(files.path, { recursive: true, force: true });
  });
});

function shell(command: string, cwd: string): ReturnType<typeof run> {
  const main = new URL('../dist/main.js', import.meta.url).pathname;
  return run('/bin/sh', ['-c', command, process.execPath, main], cwd);
}
