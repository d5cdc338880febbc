// As in a container: process 1 of its own namespace, a user id without an account, no home, a read-only file system.
import { execFileSync, spawn } from 'node:child_process';
import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { needs, tlsBackend, tlsClient } from '@meshgate/testkit';
import type { TlsTestBackend } from '@meshgate/testkit';
import { expect, it } from 'vitest';
import { until } from './bad-night/night.ts';
import { gatewayFolder, readyDaemon, run, TEST_CONFIG } from './daemon.ts';
import type { Folder, ReadyDaemon } from './daemon.ts';

/** Whether this machine allows such namespaces, and such a user to run Node: `true`, or why not. */
function containersAvailable(): true | string {
  try {
    execFileSync('unshare', [...CONTAINER, SCRIPT, 'sh', process.execPath, '--version'], { stdio: 'pipe' });
    return true;
  } catch (reason) {
    return `unshare -m -p or setpriv fails: ${reason instanceof Error ? reason.message.trim().split('\n').join(' ') : String(reason)}`;
  }
}

const CONTAINER = ['-m', '-p', '-f', '--mount-proc', 'sh', '-c'];

/** Every mounted file system is read-only. */
const SCRIPT = `set -e
findmnt -rno TARGET,FSTYPE | while read -r target type; do
  case "$type" in proc|sysfs|cgroup*|devtmpfs|devpts) ;; *) mount -o remount,ro,bind "$target" 2>/dev/null || true ;; esac
done
exec env -i TMPDIR=/nowhere KUBERNETES_SERVICE_HOST=10.96.0.1 setpriv --reuid 54321 --regid 54321 --clear-groups --no-new-privs "$@"`;

/** The same with a process 1 that waits for the gateway, as tini does. */
const SCRIPT_OF_INIT = `${SCRIPT.replace('exec env', 'env')}\nexit $?`;

interface Contained extends ReadyDaemon {
  /** Of its process 1. */
  send(signal: NodeJS.Signals): void;
}

async function startContained(files: Folder, script = SCRIPT): Promise<Contained> {
  const gateway = await readyDaemon((node, main) =>
    spawn(
      'unshare',
      [...CONTAINER, script, 'sh', node, main, 'gateway', '--config', join(files.path, 'meshgate.yaml')],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    ),
  );
  const children = await readFile(`/proc/${gateway.pid}/task/${gateway.pid}/children`, 'utf8');
  return Object.assign(gateway, { send: (signal: NodeJS.Signals) => void process.kill(Number(children), signal) });
}

/** Readable by everybody. */
async function folderFor(api: TlsTestBackend, settings: object): Promise<Folder> {
  const files = await gatewayFolder([api], settings);
  await chmod(files.path, 0o755);
  return files;
}

async function served(gateway: ReadyDaemon): Promise<string> {
  await using client = await tlsClient(gateway.address, 'api.example.com');
  return await client.echo('hello');
}

needs('netns', containersAvailable())('a gateway in a read-only container', () => {
  it.each([{}, { workers: 2 }])('serves as process 1, and drains at SIGTERM: %j', async (settings) => {
    await using api = await tlsBackend('api.example.com');
    await using files = await folderFor(api, settings);
    await using gateway = await startContained(files);
    expect(await gateway.logged('started')).toMatchObject({ pid: 1 });
    await gateway.line(({ level, msg }) => level === 'warn' && String(msg).startsWith('drain.delay is 0 in a pod'));
    expect(await served(gateway)).toBe('hello');
    gateway.send('SIGTERM');
    expect(await gateway.ended).toBe(0);
    expect(await gateway.logged('drain finished')).toMatchObject({ cut: 0 });
    expect(gateway.stderr).toBe('');
  });

  it('reports in --check and at run time that its state cannot be stored, with the reason, and serves', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await folderFor(api, { stateDir: 'state/of/this' });
    const config = join(files.path, 'meshgate.yaml');
    const main = new URL('../dist/main.js', import.meta.url).pathname;
    const check = [main, 'gateway', '--check', '--config', config];
    const { status, stderr } = await run('unshare', [...CONTAINER, SCRIPT, 'sh', process.execPath, ...check]);
    expect([status, stderr]).toEqual([
      2,
      expect.stringMatching(/the folder cannot be written: .* \((?:EACCES|EROFS)\)/),
    ]);
    await using gateway = await startContained(files);
    expect(await served(gateway)).toBe('hello');
    const warning = await gateway.line(({ msg }) => String(msg).includes('cannot be stored'));
    expect(warning['msg']).toMatch(/EACCES|EROFS/);
    gateway.send('SIGINT');
    expect(await gateway.ended).toBe(0);
  });

  it('reloads, and refuses an upgrade that would end the container, beneath an init process as well', async () => {
    await using api = await tlsBackend('api.example.com');
    for (const [script, why] of [
      [SCRIPT, 'process 1 of a container cannot be replaced from within'],
      [SCRIPT_OF_INIT, 'process 1 of this container, sh, has started this process and exits with it'],
    ] as const) {
      await using files = await folderFor(api, {});
      await using gateway = await startContained(files, script);
      await files.write('meshgate.yaml', { ...TEST_CONFIG, limits: { connectTimeout: '2s' } });
      await chmod(join(files.path, 'meshgate.yaml'), 0o644);
      expect(await gateway.query('/reload', { method: 'POST' })).toMatchObject({
        status: 200,
        json: { changes: [{ setting: 'limits.connectTimeout' }] },
      });
      expect(await gateway.query('/upgrade', { method: 'POST' })).toEqual({
        status: 409,
        json: { error: `${why}: start a new container` },
      });
      expect(await served(gateway)).toBe('hello');
      await gateway.query('/drain', { method: 'POST' });
      expect(await gateway.ended).toBe(0);
    }
  });

  it('survives storms of signals, and SIGSTOP with SIGCONT', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await folderFor(api, {});
    await using gateway = await startContained(files);
    await using established = await tlsClient(gateway.address, 'api.example.com');
    for (let count = 0; count < 50; count += 1)
      for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGPIPE', 'SIGWINCH'] as const) gateway.send(signal);
    expect(await served(gateway)).toBe('hello');
    // It has no supervisor that could follow a successor.
    await gateway.line(({ msg }) => String(msg).startsWith('no successor'));
    gateway.send('SIGSTOP');
    const waiting = served(gateway);
    gateway.send('SIGCONT');
    expect(await waiting).toBe('hello');
    expect(await established.echo('still here')).toBe('still here');
    await until(async () => (await gateway.query('/ready')).status === 200);
    established.end();
    gateway.send('SIGQUIT');
    expect(await gateway.ended).toBe(0);
  });
});
