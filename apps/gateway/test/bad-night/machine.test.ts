// Causes that need changes to the machine: mounts in a namespace, process limits, and a real Consul.
import { execFileSync, spawn } from 'node:child_process';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { dirname } from 'node:path';
import { clientHello, inRecords, nameServer, needs } from '@meshgate/testkit';
import type { NameServer, Zone } from '@meshgate/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readyDaemon, TEST_CONFIG } from '../daemon.ts';
import type { ReadyDaemon } from '../daemon.ts';
import { describeWithConsul, startConsul } from '../sidecar/agent.ts';
import { CAUSES } from './causes.ts';
import { routeOf, startNight, until, WELL, whileQuerying } from './night.ts';
import type { Night } from './night.ts';

/** Whether this process may mount in a namespace: `true`, or why not. */
function mountsAvailable(): true | string {
  try {
    execFileSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stdio: 'pipe' });
    return true;
  } catch (reason) {
    return `unshare -m fails: ${reason instanceof Error ? reason.message.trim().split('\n').join(' ') : String(reason)}`;
  }
}

/** Starts a gateway with its own resolv.conf, and a small disk at `state`. */
function startWithOwnMounts(config: string): Promise<ReadyDaemon> {
  const folder = dirname(config);
  const script = [
    'set -e',
    `mount --bind ${folder}/resolv.conf /etc/resolv.conf`,
    `mount --bind ${folder}/nsswitch.conf /etc/nsswitch.conf`,
    `mount -t tmpfs -o size=64k tmpfs ${folder}/state`,
    'exec "$@"',
  ].join('\n');
  return readyDaemon((node, main) =>
    spawn('unshare', ['-m', 'sh', '-c', script, 'sh', node, main, 'gateway', '--config', config], {
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  );
}

const HELLO = inRecords(clientHello({ serverName: WELL }));

const GOOD = { A: { addresses: ['127.0.0.1'], ttl: 1 } } as const;
const ZONE: Zone = { 'fails.internal': GOOD, 'silent.internal': GOOD, 'gone.internal': GOOD };

needs('netns', mountsAvailable())('a bad night on a machine of its own', () => {
  let night: Night;
  let names: NameServer;
  let zone: Zone = ZONE;

  beforeAll(async () => {
    names = await nameServer(ZONE);
    night = await startNight(
      {
        ...TEST_CONFIG,
        sources: [
          { use: 'file', path: 'well.yaml' },
          { use: 'file', path: 'names.yaml' },
        ],
        stateDir: 'state',
      },
      ({ address: { port } }) => ({
        'resolv.conf': `nameserver ${names.server}\noptions timeout:1 attempts:1\n`,
        'nsswitch.conf': 'hosts: files dns\n',
        'state/.keep': '',
        'names.yaml': { routes: Object.keys(ZONE).map((host) => routeOf(host, { host, port })) },
      }),
      startWithOwnMounts,
    );
    for (const name of Object.keys(ZONE)) expect(await night.serve(name)).toBe('through the night');
  }, 60_000);

  afterAll(async () => {
    await night[Symbol.asyncDispose]();
    await names[Symbol.asyncDispose]();
  });

  function respond(name: string, entry: Zone[string] | undefined): void {
    const { [name]: _before, ...others } = zone;
    zone = entry === undefined ? others : { ...others, [name]: entry };
    names.serve(zone);
  }

  /** A name that was resolved before keeps its last good addresses, whatever the name servers answer now. */
  async function nameFault(name: string, entry: Zone[string] | undefined, expected: RegExp): Promise<void> {
    const since = night.gateway.lines.length;
    respond(name, entry);
    const querying = until(async () => {
      expect(await night.serve(name)).toBe('through the night');
      return night.gateway.lines.some(({ host }) => host === name);
    });
    const line = await night.lineAfter(since, ({ host }) => host === name);
    await querying;
    expect(line).toMatchObject({ level: 'warn', msg: expect.stringMatching(expected) as string });
    await whileQuerying(night, [name], () => night.fires('MeshgateNamesFail'));
    expect((await night.warnings()).some((warning) => warning.includes(name))).toBe(true);
    respond(name, GOOD);
    expect(await night.serve(name)).toBe('through the night');
  }

  describe.concurrent('has many causes at a time', () => {
    it(CAUSES.nameServerFails.cause, { timeout: 90_000 }, () =>
      nameFault('fails.internal', { A: 'SERVFAIL', AAAA: 'SERVFAIL' }, /keeping last addresses.*SERVFAIL/i),
    );

    it(CAUSES.nameServerSilent.cause, { timeout: 90_000 }, () =>
      nameFault('silent.internal', { A: 'drop', AAAA: 'drop' }, /keeping last addresses.*(?:no response|timed out)/),
    );

    it(CAUSES.nameGone.cause, { timeout: 90_000 }, () =>
      nameFault('gone.internal', undefined, /keeping last addresses.*no such name/),
    );

    it(CAUSES.stateDirFull.cause, { timeout: 40_000 }, async () => {
      const since = night.gateway.lines.length;
      const filler = `/proc/${night.gateway.pid}/root${night.files.path}/state/filler`;
      expect(() => writeFileSync(filler, Buffer.alloc(128 * 1024))).toThrow('ENOSPC');
      const before = Object.keys(ZONE).map((host) => routeOf(host, { host, port: night.well.address.port }));
      await night.files.write('names.yaml', { routes: [...before, routeOf('new.example', night.well.address)] });
      const line = await night.lineAfter(since, ({ msg }) => String(msg).includes('cannot be stored'));
      expect(line['msg']).toMatch(/state: ENOSPC: no space left on device/);
      await night.fires('MeshgateSourceWarns');
      expect(await night.serve('new.example')).toBe('through the night');
      rmSync(filler);
      await night.untilQuiet(/cannot be stored/);
    });
  });

  it('in the morning no warnings remain, and the gateway stops cleanly', async () => {
    // A warning about the last minute clears by itself after a minute.
    await until(async () => (await night.warnings()).every((warning) => warning.includes('within the last minute')));
    expect(await night.established.echo('good morning')).toBe('good morning');
    night.established.end();
    night.gateway.signal('SIGTERM');
    expect(await night.gateway.ended).toBe(0);
  });
});

needs('netns', mountsAvailable())('a gateway with workers', () => {
  it('reports in its readiness what only its workers lack', { timeout: 90_000 }, async () => {
    await using names = await nameServer({ 'ill.internal': { A: 'SERVFAIL', AAAA: 'SERVFAIL' } });
    await using night = await startNight(
      {
        ...TEST_CONFIG,
        workers: 2,
        sources: [
          { use: 'file', path: 'well.yaml' },
          { use: 'file', path: 'ill.yaml' },
        ],
      },
      () => ({
        'resolv.conf': `nameserver ${names.server}\n`,
        'nsswitch.conf': 'hosts: files dns\n',
        'state/.keep': '',
        'ill.yaml': { routes: [routeOf('ill.internal', { host: 'ill.internal', port: 1 })] },
      }),
      startWithOwnMounts,
    );
    await expect(night.serve('ill.internal')).rejects.toThrow();
    await until(async () =>
      (await night.warnings()).some((warning) => warning.includes('backend ill.internal not resolved')),
    );
    expect(await night.serve(WELL)).toBe('through the night');
  });
});

/** Whether limits of another process can be set: `true`, or why not. */
function limitsAvailable(): true | string {
  try {
    execFileSync('prlimit', ['--pid', String(process.pid), '--nofile'], { stdio: 'pipe' });
    return true;
  } catch {
    return 'no prlimit';
  }
}

needs('netns', limitsAvailable())('a gateway', () => {
  it(
    `continues when ${CAUSES.noDescriptors.cause}, reports it, and accepts again when descriptors are free`,
    { timeout: 40_000 },
    async () => {
      await using night = await startNight(
        { ...TEST_CONFIG, sources: [{ use: 'file', path: 'well.yaml' }] },
        () => ({}),
      );
      const { pid, address } = night.gateway;
      const few = readdirSync(`/proc/${pid}/fd`).length + 8;
      const limit = (soft: number): unknown => execFileSync('prlimit', ['--pid', String(pid), `--nofile=${soft}:`]);
      limit(few);
      const crowd: Socket[] = Array.from({ length: 60 }, () =>
        connect({ host: address.host, port: address.port }).on('error', () => undefined),
      );
      // The node transport only notices the shortage at a dial.
      for (const socket of crowd) socket.write(HELLO);
      const line = await night.gateway.line(({ msg }) => String(msg).startsWith('accept paused'));
      expect(line['msg']).toMatch(/EMFILE|file descriptors/);
      expect(await night.established.echo('still here')).toBe('still here');
      await night.fires('MeshgateFull');
      for (const socket of crowd) socket.destroy();
      limit(4_096);
      await night.gateway.logged('accept resumed');
      await until(() =>
        night.serve(WELL).then(
          () => true,
          () => false,
        ),
      );
      await until(async () => (await night.warnings()).every((warning) => warning.includes('within the last minute')));
    },
  );
});

describeWithConsul('a gateway with a real Consul', () => {
  it(
    `keeps its routes when ${CAUSES.consulFrozen.cause}, or ${CAUSES.consulKilled.cause}`,
    { timeout: 60_000 },
    async () => {
      await using consul = await startConsul();
      const serverName = await serverNameOf(consul);
      await using night = await startNight(
        {
          ...TEST_CONFIG,
          sources: [
            { use: 'file', path: 'well.yaml' },
            { use: 'consul', address: consul.address },
          ],
        },
        () => ({}),
      );
      await consul.send('PUT', 'agent/service/register', registrationOf('db', night.well.address.port));
      await until(() =>
        night.serve(serverName).then(
          () => true,
          () => false,
        ),
      );

      consul.signal('SIGSTOP');
      expect(await night.serve(serverName)).toBe('through the night');
      consul.signal('SIGCONT');

      const since = night.gateway.lines.length;
      await consul.kill();
      const line = await night.lineAfter(since, ({ level }) => level === 'warn');
      expect(line['msg']).toMatch(/Consul agent at .*(?:ECONNREFUSED|other side closed|ECONNRESET)/);
      await night.fires('MeshgateSourceFailing');
      expect(await night.serve(serverName)).toBe('through the night');
      await consul.restart();
      // No gateway is registered here, for which there is a permanent warning.
      await until(async () =>
        (await night.warnings()).every((warning) => warning.includes('expected one mesh gateway')),
      );
      expect(await night.serve(serverName)).toBe('through the night');
      expect(await night.established.echo('still here')).toBe('still here');
    },
  );
});

async function serverNameOf(consul: { send(method: 'GET', path: string): Promise<unknown> }): Promise<string> {
  const { TrustDomain } = (await consul.send('GET', 'agent/connect/ca/roots')) as { readonly TrustDomain: string };
  return `db.default.dc1.internal.${TrustDomain}`;
}

function registrationOf(name: string, port: number): object {
  return {
    Name: name,
    Address: '127.0.0.1',
    Port: 80,
    Connect: { SidecarService: { Port: port, Address: '127.0.0.1' } },
  };
}
