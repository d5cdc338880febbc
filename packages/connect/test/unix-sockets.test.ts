import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { certificateAuthority, rawClient, tlsBackend, unixAddress } from '@meshgate/testkit';
import type { Endpoint } from '@meshgate/core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { credentialsOf, leafOf, targetOf, upstreamOf, viewOf } from './mesh.ts';
import { startSidecar } from './sidecar.ts';
import type { TestSidecar } from './sidecar.ts';

const root = certificateAuthority('root');
const credentials = credentialsOf(leafOf(root, 'web'), root);

describe('the unix socket of an upstream', () => {
  it('replaces a stale one of a killed process', async () => {
    await using bind = await unixAddress();
    await leaveBehind(pathOf(bind.address));
    await using db = await tlsBackend('db', { identity: leafOf(root, 'db'), clientCa: root.certificate });
    await using one = await sidecarAt(bind.address, db.address);
    await using client = await rawClient(await one.address('upstream:db'));
    await client.send('again');
    expect((await client.receive(5)).toString()).toBe('again');
  });

  it('does not replace one with a listener', async () => {
    await using bind = await unixAddress();
    const other = createServer((socket) => {
      // A probe that only checks for a listener disconnects at once.
      socket.on('error', () => undefined).end('other');
    }).listen(pathOf(bind.address));
    await once(other, 'listening');
    onTestFinished(() => void other.close());
    await using one = await sidecarAt(bind.address);
    expect(await whyNot(one)).toMatch(/EADDRINUSE/);
    await using client = await rawClient(bind.address);
    expect((await client.receiveAll()).toString()).toBe('other');
  });

  it('does not touch a file that is not a socket', async () => {
    await using bind = await unixAddress();
    await writeFile(pathOf(bind.address), 'a file');
    await using one = await sidecarAt(bind.address);
    expect(await whyNot(one)).toMatch(/EADDRINUSE/);
  });

  it.each([
    ['in a folder that is not there', 'unix:/nowhere/at/all.sock', /no such file or directory.*\/nowhere\/at'/],
    [
      'with a path that is too long for the system, which would cut it off',
      `unix:/tmp/${'x'.repeat(120)}`,
      /expected a path of at most 10[37] bytes for a unix socket, found one of 125/,
    ],
  ])('%s is not opened, and the reason is reported', async (_claim, host, reason) => {
    await using one = await sidecarAt({ host, port: 0 });
    expect(await whyNot(one)).toMatch(reason);
  });
});

function sidecarAt(bind: Endpoint, ...at: readonly Endpoint[]): Promise<TestSidecar> {
  const upstreams = [upstreamOf('db', [targetOf({ service: 'db', at })], bind)];
  return startSidecar({ credentials, view: viewOf({ service: 'web', upstreams }) });
}

async function whyNot(one: TestSidecar): Promise<string> {
  const { error } = await one.events.until('listener.failed');
  return error.message;
}

function pathOf({ host }: Endpoint): string {
  return host.slice('unix:'.length);
}

/** A socket file that no process listens on. */
async function leaveBehind(path: string): Promise<void> {
  const listen = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('listening'))`;
  const child = spawn(process.execPath, ['-e', listen], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'close');
}
