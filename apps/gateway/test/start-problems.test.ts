import { chmod, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../src/cli/cli.ts';
import { portProblems } from '../src/config/start-problems.ts';
import { folder, meshgate, run, TEST_CONFIG } from './daemon.ts';
import type { Ended } from './daemon.ts';

const UNPRIVILEGED = { capabilities: '0000000000000000', firstFreePort: 1_024 };

describe('a privileged port', () => {
  it.each([
    [443, UNPRIVILEGED, 'port 443 requires root or CAP_NET_BIND_SERVICE: this user may listen on ports from 1024'],
    [1_024, UNPRIVILEGED, undefined],
    [0, UNPRIVILEGED, undefined],
    [443, { ...UNPRIVILEGED, capabilities: '0000000000000400' }, undefined],
    [443, { ...UNPRIVILEGED, capabilities: '000001ffffffffff' }, undefined],
    [443, { ...UNPRIVILEGED, firstFreePort: 0 }, undefined],
    [443, undefined, undefined],
  ])('port %i with %j', (port, rights, message) => {
    const found = portProblems({ host: '0.0.0.0', port }, ['listeners', 0, 'port'], rights);
    expect(found).toEqual(message === undefined ? [] : [{ path: ['listeners', 0, 'port'], message }]);
  });
});

describe('meshgate gateway --check', () => {
  const ROUTES = 'routes: [ { serverNames: [ a.example ], backends: [ { address: 10.0.0.1, port: 1 } ] } ]\n';

  it('reports that a folder for the state cannot be created, with its position', async () => {
    await using files = await folder({ 'routes.yaml': ROUTES, file: 'no folder' });
    await files.write('meshgate.yaml', { ...TEST_CONFIG, stateDir: 'file/state' });
    const { status, stderr } = await meshgate(['gateway', '--check'], files.path);
    expect([status, stderr]).toEqual([
      2,
      expect.stringMatching(/^meshgate\.yaml:1:\d+: the folder cannot be written: .*\/file.* \(ENOTDIR\)\n$/),
    ]);
  });

  it.each([
    ['a file', 'file'],
    ['a link to nothing', 'dangling'],
  ])('reports %s in the place of the folder for the state', async (_what, name) => {
    await using files = await folder({ 'routes.yaml': ROUTES, file: 'no folder' });
    await chmod(join(files.path, 'file'), 0o700);
    await symlink('nowhere', join(files.path, 'dangling'));
    await files.write('meshgate.yaml', { ...TEST_CONFIG, stateDir: name });
    const { status, stderr } = await meshgate(['gateway', '--check'], files.path);
    expect(stderr).toMatch(
      new RegExp(`^meshgate\\.yaml:1:\\d+: expected a folder at .*/${name}, found something else\n$`),
    );
    expect(status).toBe(2);
  });

  it.each(['0.0.0.0', '::', '0:0:0:0:0:0:0:0', '::ffff:0.0.0.0'])(
    'warns of nothing for a listener on %s',
    async (address) => {
      await using files = await folder({ 'routes.yaml': ROUTES });
      await files.write('meshgate.yaml', { ...TEST_CONFIG, listeners: [{ name: 'all', address, port: 8443 }] });
      const { status, stderr } = await meshgate(['gateway', '--check'], files.path);
      expect(stderr).toBe('');
      expect(status).toBe(0);
    },
  );

  it.each([
    ['203.0.113.9', 'no interface of this machine has the address'],
    ['fe80::1%nope0', 'no interface of this machine has the address'],
  ])('warns of a listener on %s, which this machine does not have', async (address, words) => {
    await using files = await folder({ 'routes.yaml': ROUTES });
    await files.write('meshgate.yaml', { ...TEST_CONFIG, listeners: [{ name: 'far', address, port: 8443 }] });
    const { status, stderr, stdout } = await meshgate(['gateway', '--check'], files.path);
    expect(stderr + stdout).toContain(
      `warning: listener far on ${address.includes(':') ? `[${address}]` : address}:8443: ${words}`,
    );
    expect(status).toBe(0);
  });

  it('accepts a folder that does not exist yet, and creates none', async () => {
    await using files = await folder({ 'routes.yaml': ROUTES });
    await files.write('meshgate.yaml', { ...TEST_CONFIG, stateDir: 'state/of/this' });
    expect((await meshgate(['gateway', '--check'], files.path)).status).toBe(0);
    expect((await run('ls', ['-A', files.path])).stdout).toBe('meshgate.yaml\nroutes.yaml\n');
  });

  const GATEWAY = 'service {\n kind = "mesh-gateway"\n name = "gw"\n port = 8443\n ';
  const LISTEN = '127.0.0.1';

  it.each<readonly [what: string, settings: object, gateway: string, words: RegExp | undefined]>([
    ['alone', {}, `address = "${LISTEN}"`, undefined],
    ['at localhost', {}, 'address = "localhost"', undefined],
    [
      'at a name',
      {},
      'address = "gw.internal"',
      /expected an IP address for listener default to listen on, found "gw\.internal"/,
    ],
    [
      'on every address of IPv6 beside every one of IPv4',
      {},
      'address = "0.0.0.0"\n proxy { config { envoy_gateway_bind_addresses { six { address = "::", port = 8443 } } } }',
      /listener six cannot listen on \[::\]:8443: listener default listens on 0\.0\.0\.0:8443/,
    ],
    [
      'on the port of the admin API',
      { admin: { address: '0.0.0.0', port: 8443 } },
      `address = "${LISTEN}"`,
      /listener default cannot listen on 127\.0\.0\.1:8443: the admin server listens on 0\.0\.0\.0:8443/,
    ],
    [
      'on every address, where the configuration has one',
      { listeners: [{ name: 'own', address: LISTEN, port: 8443 }] },
      'address = "0.0.0.0"',
      /listener default cannot listen on 0\.0\.0\.0:8443: listener own listens on 127\.0\.0\.1:8443/,
    ],
    [
      'where the configuration has the same one',
      { listeners: [{ name: 'own', address: LISTEN, port: 8443 }] },
      `address = "${LISTEN}"`,
      undefined,
    ],
  ])('checks the listeners that mesh files define: %s', async (_what, settings, gateway, words) => {
    await using files = await folder({ 'mesh/dc1/gw.hcl': `${GATEWAY}${gateway}\n}\n` });
    await files.write('meshgate.yaml', {
      admin: { port: 0 },
      ...settings,
      sources: [{ use: 'file', mesh: 'mesh', datacenter: 'dc1', trustDomain: 'x.consul' }],
    });
    const { status, stderr } = await checked(['--config', join(files.path, 'meshgate.yaml')]);
    expect([status, stderr]).toEqual(words === undefined ? [0, ''] : [2, expect.stringMatching(words)]);
  });

  it.each([
    [
      ['--address', '127.0.0.1:19000', '--admin-bind', '127.0.0.1:19000'],
      /the admin server listens on 127\.0\.0\.1:19000/,
    ],
    [['--address', '127.0.0.1:8443', '--wan-address', '0.0.0.0:443'], /other datacenters can dial, found 0\.0\.0\.0/],
    [['--bind-address', 'a=0.0.0.0:8443', '--bind-address', 'b=[::]:8443'], /listener a listens on 0\.0\.0\.0:8443/],
  ])('checks the listeners that a registration defines: %j', async (flags, words) => {
    const { status, stderr } = await checked(['--register', ...flags]);
    expect([status, stderr]).toEqual([2, expect.stringMatching(words)]);
  });

  it.each([
    ['a file in its place', 'unix:/dev/null', /expected a socket or nothing at \/dev\/null, found something else/],
    ['no folder', 'unix:/nowhere/at/all.sock', /cannot create the socket: \/nowhere\/at \(ENOENT\)/],
    [
      'too long a path',
      `unix:/${'x'.repeat(108)}`,
      /expected a path of at most 107 bytes for a unix socket, found 109/,
    ],
  ])('reports that a unix socket cannot be created: %s', async (_what, address, words) => {
    await using files = await folder({ 'routes.yaml': ROUTES });
    const listeners = [{ name: 'main', address }];
    await files.write('meshgate.yaml', { ...TEST_CONFIG, listeners });
    const { status, stderr } = await checked(['--config', join(files.path, 'meshgate.yaml')]);
    expect([status, stderr]).toEqual([2, expect.stringMatching(words)]);
  });

  it('warns about routes back to the gateway: a route, and gateways of other datacenters by any of its addresses', async () => {
    const gateway = (address: string): string => `${GATEWAY}address = "${address}"\n}\n`;
    await using files = await folder({
      'routes.yaml': ROUTES.replace('10.0.0.1, port: 1', '127.0.0.1, port: 8443'),
      'mesh/dc1/gw.hcl': gateway('127.0.0.1'),
      'mesh/dc2/gw.hcl': gateway('0.0.0.0'),
      'mesh/dc3/gw.hcl': gateway('127.0.0.1'),
      'mesh/dc4/gw.hcl': gateway('127.0.0.2'),
    });
    const mesh = { use: 'file', mesh: 'mesh', datacenter: 'dc1', trustDomain: 'x.consul' };
    await files.write('meshgate.yaml', { admin: { port: 0 }, sources: [mesh, { use: 'file', path: 'routes.yaml' }] });
    const { status, stdout } = await checked(['--config', join(files.path, 'meshgate.yaml')]);
    expect(status).toBe(0);
    expect(stdout.match(/\S+ leads back to this gateway: \S+ is its listener default/g)).toEqual([
      'datacenter:dc2 leads back to this gateway: 0.0.0.0:8443 is its listener default',
      'datacenter:dc3 leads back to this gateway: 127.0.0.1:8443 is its listener default',
      'a.example leads back to this gateway: 127.0.0.1:8443 is its listener default',
    ]);
  });

  it.each([
    [{ tokenFile: 'none' }, /sources\.0\.tokenFile|tokenFile: .*ENOENT|ENOENT/],
    [{ token: 'a', tokenFile: 'b' }, /expected token or tokenFile, found both/],
  ])('rejects a configuration that could never start: %j', async (settings, words) => {
    await using files = await folder({});
    await files.write('meshgate.yaml', { sources: [{ use: 'consul', ...settings }] });
    const { status, stderr } = await meshgate(['gateway', '--check'], files.path);
    expect([status, stderr]).toEqual([2, expect.stringMatching(words)]);
  });
});

/** `meshgate gateway --check` in this process: starting Node for each would take most of the time. */
async function checked(flags: readonly string[]): Promise<Ended> {
  const written = { stdout: '', stderr: '' };
  const output = (which: keyof typeof written) => ({ write: (text: string) => ((written[which] += text), true) });
  const ignore = (): void => undefined;
  const signals = { onStop: ignore, onReload: ignore, onUpgrade: ignore, onStray: ignore };
  const terminal = { stdout: output('stdout'), stderr: output('stderr'), signals, env: {}, stdin: process.stdin };
  const status = await runCommand(['gateway', '--check', ...flags], terminal as never);
  return { status, ...written };
}
