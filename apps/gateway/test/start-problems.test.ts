import { describe, expect, it } from 'vitest';
import { portProblems } from '../src/config/start-problems.ts';
import { folder, meshgate, run, TEST_CONFIG } from './daemon.ts';

const NOBODY = { capabilities: '0000000000000000', firstFreePort: 1_024 };

describe('a port that not everybody may listen on', () => {
  it.each([
    [443, NOBODY, 'port 443 takes root or CAP_NET_BIND_SERVICE: this user may listen on ports from 1024'],
    [1_024, NOBODY, undefined],
    [0, NOBODY, undefined],
    [443, { ...NOBODY, capabilities: '0000000000000400' }, undefined],
    [443, { ...NOBODY, capabilities: '000001ffffffffff' }, undefined],
    [443, { ...NOBODY, firstFreePort: 0 }, undefined],
    [443, undefined, undefined],
  ])('port %i with %j', (port, rights, message) => {
    const found = portProblems({ host: '0.0.0.0', port }, ['listeners', 0, 'port'], rights);
    expect(found).toEqual(message === undefined ? [] : [{ path: ['listeners', 0, 'port'], message }]);
  });
});

describe('meshgate gateway --check', () => {
  const ROUTES = 'routes: [ { serverNames: [ a.example ], backends: [ { address: 10.0.0.1, port: 1 } ] } ]\n';

  it('says that a folder for the state cannot be made, with its place', async () => {
    await using files = await folder({ 'routes.yaml': ROUTES, file: 'no folder' });
    await files.write('meshgate.yaml', { ...TEST_CONFIG, stateDir: 'file/state' });
    const { status, stderr } = await meshgate(['gateway', '--check'], files.path);
    expect([status, stderr]).toEqual([
      2,
      expect.stringMatching(/^meshgate\.yaml:1:\d+: the folder cannot be written: .*\/file.* \(ENOTDIR\)\n$/),
    ]);
  });

  it('says nothing of a folder that will be made, and makes none', async () => {
    await using files = await folder({ 'routes.yaml': ROUTES });
    await files.write('meshgate.yaml', { ...TEST_CONFIG, stateDir: 'state/of/this' });
    expect((await meshgate(['gateway', '--check'], files.path)).status).toBe(0);
    expect((await run('ls', ['-A', files.path])).stdout).toBe('meshgate.yaml\nroutes.yaml\n');
  });

  it.each([
    [{ tokenFile: 'none' }, /sources\.0\.tokenFile|tokenFile: .*ENOENT|ENOENT/],
    [{ token: 'a', tokenFile: 'b' }, /expected token or tokenFile, found both/],
  ])('refuses what no start could use: %j', async (settings, words) => {
    await using files = await folder({});
    await files.write('meshgate.yaml', { sources: [{ use: 'consul', ...settings }] });
    const { status, stderr } = await meshgate(['gateway', '--check'], files.path);
    expect([status, stderr]).toEqual([2, expect.stringMatching(words)]);
  });
});
