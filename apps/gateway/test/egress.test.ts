// Egress in a complete gateway, with the system's names: `*.localhost` is this machine (RFC 6761), which only a route
// that allows it reaches.
import { tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { folder, meshgate, startGateway, TEST_CONFIG } from './daemon.ts';
import type { Folder, LogLine, ReadyDaemon } from './daemon.ts';

const LOOPBACK = ['127.0.0.0/8', '::1'];

async function filesWith(egress: object): Promise<Folder> {
  const route = { name: 'out', serverNames: ['*.localhost'], egress };
  return folder({ 'meshgate.yaml': TEST_CONFIG, 'routes.yaml': { routes: [route] } });
}

/** How the connection of a client that requests `serverName` ends, from the access log. */
async function refusal(gateway: ReadyDaemon, serverName: string): Promise<unknown> {
  await expect(tlsClient(gateway.address, serverName)).rejects.toThrow();
  return (await gateway.line((one) => one['serverName'] === serverName))['code'];
}

describe('a gateway with egress', () => {
  it('forwards to the server name itself, if the route allows its addresses', async () => {
    await using service = await tlsBackend('api.localhost');
    await using files = await filesWith({ port: service.address.port, allowAddresses: LOOPBACK });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.localhost', { ca: service.ca });
    expect(await client.echo('hello')).toBe('hello');
    const { json } = await gateway.query('/routes');
    expect(json).toMatchObject({ routes: [{ name: 'out', egress: { port: service.address.port }, backends: [] }] });
    const { stdout } = await meshgate(['explain', 'api.localhost', '--admin', gateway.admin]);
    expect(stdout).toContain(`to the server name itself, port ${service.address.port}`);
  });

  it('never dials an address of this machine unless it is allowed', async () => {
    await using service = await tlsBackend('api.localhost');
    await using files = await filesWith({ port: service.address.port });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    expect(await refusal(gateway, 'api.localhost')).toBe('REFUSED_BY_POLICY');
    expect(service.accepted).toBe(0);
    const metrics = await (await fetch(new URL('/metrics', gateway.admin))).text();
    expect(metrics).toMatch(/meshgate_dial_failures_total\{route="out",code="REFUSED_BY_POLICY"\} [1-9]/);
  });

  it('does not loop', async () => {
    await using files = await filesWith({ port: 1, allowAddresses: LOOPBACK });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const route = {
      name: 'out',
      serverNames: ['*.localhost'],
      egress: { port: gateway.address.port, allowAddresses: LOOPBACK },
    };
    await files.write('routes.yaml', { routes: [route] });
    gateway.signal('SIGHUP');
    const isUpdate = ({ msg }: LogLine): boolean => String(msg).startsWith('routes updated');
    await gateway.line((line) => isUpdate(line) && gateway.lines.filter(isUpdate).indexOf(line) > 0);
    // The gateway listens on one of its two addresses; the one that was rejected last is reported.
    expect(['LOOP_DETECTED', 'CONNECT_REFUSED']).toContain(await refusal(gateway, 'me.localhost'));
    expect(gateway.lines.filter((line) => line['serverName'] === 'me.localhost')).toHaveLength(1);
  });
});

it('an egress route for any name is rejected by --check', async () => {
  const route = { name: 'out', serverNames: ['*'], egress: {} };
  await using files = await folder({ 'meshgate.yaml': TEST_CONFIG, 'routes.yaml': { routes: [route] } });
  const { status, stderr } = await meshgate(['gateway', '--check', '--config', `${files.path}/meshgate.yaml`]);
  expect([status, stderr]).toEqual([2, expect.stringContaining('"*" would be an open proxy')]);
});
