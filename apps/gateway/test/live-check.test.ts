import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { systemNames } from '@meshgate/core/parts';
import { nameServer, standInAgent, tlsBackend } from '@meshgate/testkit';
import type { StandInAgent } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { checkNames } from '../src/live-check/name-check.ts';
import type { Ended } from './daemon.ts';
import { folder, gatewayFolder, meshgate, startGateway, TEST_CONFIG } from './daemon.ts';

/** `--check --live` for a gateway that registers itself with `agent`. */
async function checkAt(address: string): Promise<Ended> {
  await using files = await folder({
    'meshgate.yaml': {
      ...TEST_CONFIG,
      sources: [{ use: 'consul', address, register: { address: '127.0.0.9:65301' } }],
    },
  });
  return await meshgate(['gateway', '--check', '--live'], files.path);
}

const FREE_PORT_LINES = 'ok      listener main on 127.0.0.1:0: can be bound\n';

describe('meshgate gateway --check --live, of a Consul agent', () => {
  it('reports the leader, the version, and the permissions of the token', async () => {
    const may = [true, true, true].map((Allow) => ({ Allow }));
    await using agent = await standInAgent({ responses: { 'internal/acl/authorize': may } });
    const { status, stdout } = await checkAt(agent.address);
    expect(stdout).toContain(
      [
        `ok      Consul agent at ${agent.address}: responds, leader 127.0.0.1:8300`,
        "ok      clock: in sync with the agent's",
        'ok      Consul version: 1.16.4, datacenter dc1',
        'ok      ACL token: may service "mesh-gateway" { policy = "write" }',
        'ok      ACL token: may service_prefix "" { policy = "read" }',
        'ok      ACL token: may node_prefix "" { policy = "read" }',
        '',
      ].join('\n'),
    );
    expect(stdout).toContain(FREE_PORT_LINES);
    expect(status).toBe(0);
    expect(agent.registered.size).toBe(0);
  });

  it.each([
    ['an ordinary service', { Service: 'mesh-gateway', ID: 'mesh-gateway', Port: 80 }, 'found an ordinary service'],
    [
      'another gateway whose check passes',
      { Service: 'mesh-gateway', ID: 'mesh-gateway', Kind: 'mesh-gateway', Address: '127.0.0.1', Port: 9443 },
      'another gateway is registered with the agent as mesh-gateway, at 127.0.0.1:9443, and its check does not fail',
    ],
  ])('fails when %s has the id of the gateway, as a start would', async (_what, service, words) => {
    const check = { CheckID: 'up', ServiceID: 'mesh-gateway', Status: 'passing' };
    const responses = { 'agent/service/mesh-gateway': service, 'agent/checks': { up: check } };
    await using agent = await standInAgent({ responses });
    const { status, stdout } = await checkAt(agent.address);
    expect(stdout).toMatch(new RegExp(`^FAILED  registration: .*${words}`, 'm'));
    expect(status).toBe(1);
    expect(agent.registered.size).toBe(0);
  });

  it.each<[string, (agent: StandInAgent) => unknown, string | RegExp]>([
    [
      'has no leader',
      (agent) => agent.respond({ 'status/leader': '""' }),
      'its cluster has no leader; check the servers: consul operator raft list-peers',
    ],
    [
      'does not know the token',
      (agent) =>
        agent.misbehave({ kind: 'status', status: 403, body: 'ACL not found' }, (path) => path.includes('authorize')),
      'FAILED  ACL token: ACL not found; the agent does not know the token: create one, or correct --token-file',
    ],
    [
      'has a token without a rule',
      (agent) => agent.respond({ 'internal/acl/authorize': [{ Allow: true }, { Allow: true }, { Allow: false }] }),
      'FAILED  ACL token: may not node_prefix "" { policy = "read" }; add node_prefix "" { policy = "read" } to a policy of the token',
    ],
    [
      'has gone',
      (agent) => agent[Symbol.asyncDispose](),
      /FAILED {2}Consul agent at http:\/\/127\.0\.0\.1:\d+: connect ECONNREFUSED 127\.0\.0\.1:\d+; start the agent, or correct/,
    ],
  ])('fails with a reason when it %s', async (_, spoil, words) => {
    await using agent = await standInAgent();
    const { address } = agent;
    await spoil(agent);
    const { status, stdout } = await checkAt(address);
    expect(stdout).toMatch(words);
    expect(status).toBe(1);
  });
});

describe('meshgate gateway --check --live, of addresses to listen on', () => {
  it('treats those of the running gateway as free', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const { port } = new URL(gateway.admin);
    const listeners = [{ name: 'main', address: '127.0.0.1', port: gateway.address.port }];
    await files.write('next.yaml', { ...TEST_CONFIG, listeners, admin: { port: Number(port) } });
    const { status, stdout } = await meshgate(['gateway', '--config', 'next.yaml', '--check', '--live'], files.path);
    expect(stdout).toBe(
      [
        'next.yaml: OK (sources: file:routes.yaml)',
        'ok      source file:routes.yaml: 1 route',
        `ok      listener main on 127.0.0.1:${gateway.address.port}: held by the running gateway`,
        `ok      admin on 127.0.0.1:${port}: held by the running gateway`,
        'healthy: nothing wrong in 3 checks',
        '',
      ].join('\n'),
    );
    expect(status).toBe(0);
  });

  it('fails when another process listens, and shows how to find it', async () => {
    await using api = await tlsBackend('api.example.com');
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await using files = await gatewayFolder([api], { listeners: [{ name: 'main', address: '127.0.0.1', port }] });
    const { status, stdout } = await meshgate(['gateway', '--check', '--live'], files.path);
    server.close();
    expect(stdout).toContain(
      `FAILED  listener main on 127.0.0.1:${port}: cannot be bound: EADDRINUSE; already in use, perhaps by another gateway (ss -ltnp`,
    );
    expect(status).toBe(1);
  });

  it('reports an address that is not assigned to this machine', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api], { listeners: [{ name: 'main', address: '192.0.2.1', port: 0 }] });
    const { status, stdout } = await meshgate(['gateway', '--check', '--live'], files.path);
    expect([status, stdout]).toEqual([
      1,
      expect.stringContaining(
        'FAILED  listener main on 192.0.2.1:0: cannot be bound: EADDRNOTAVAIL; address not assigned to a local interface',
      ),
    ]);
  });

  it('is refused without --check', async () => {
    const { status, stderr } = await meshgate(['gateway', '--live']);
    expect([status, stderr]).toEqual([2, 'expected --check before --live, found none\n']);
  });
});

describe('backend names', () => {
  it('are each resolved once; one without an address fails, with advice', async () => {
    await using server = await nameServer({
      'db.example': { A: { addresses: ['192.0.2.1'] } },
      'ill.example': { A: 'SERVFAIL', AAAA: 'SERVFAIL' },
    });
    await using files = await folder({
      'resolv.conf': `nameserver ${server.server}\n`,
      hosts: '',
      'nsswitch.conf': 'hosts: files dns\n',
    });
    const [resolvConf, hostsFile, nsswitch] = ['resolv.conf', 'hosts', 'nsswitch.conf'].map(
      (name) => `${files.path}/${name}`,
    );
    const system = systemNames({ resolvConf, hostsFile, nsswitch } as object);
    const hosts = ['192.0.2.9', 'unix:/run/a.sock', 'db.example', 'db.example', 'gone.example', 'ill.example'];
    const findings = await checkNames(
      hosts.map((host) => ({ host, port: 1 })),
      system,
    );
    expect(findings.toSorted((one, other) => (one.check < other.check ? -1 : 1))).toEqual([
      { check: 'backend names', outcome: 'ok', found: '1 of 3 names resolve' },
      {
        check: 'name gone.example',
        outcome: 'failed',
        found: expect.any(String) as string,
        advice: 'correct the name, or add it to the hosts file or DNS',
      },
      {
        check: 'name ill.example',
        outcome: 'failed',
        found: expect.any(String) as string,
        advice: 'check /etc/resolv.conf and its name servers',
      },
    ]);
    expect(server.queries.filter((query) => query === 'A db.example')).toHaveLength(1);
  });
});
