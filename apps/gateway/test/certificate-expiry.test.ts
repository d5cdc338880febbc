import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:tls';
import { certificateAuthority, standInAgent } from '@meshgate/testkit';
import type { StandInAgent, StandInMesh } from '@meshgate/testkit';
import { expect, it, onTestFinished } from 'vitest';
import { eventually } from './federation/eventually.ts';
import { folder, readyDaemon, startGateway, TEST_CONFIG } from './daemon.ts';
import type { ReadyDaemon } from './daemon.ts';

const AGENTS_END = new Date('2098-01-01T00:00:00Z');
const OWN_END = new Date('2097-01-01T00:00:00Z');
const MESH_END = new Date('2096-01-01T00:00:00Z');
const PEER_END = new Date('2095-01-01T00:00:00Z');
const EARLIER = new Date('2094-01-01T00:00:00Z');
const authority = certificateAuthority('agents');

/** A TLS server in front of `agent` that requests a client certificate. */
async function overTls(agent: StandInAgent): Promise<string> {
  const { chain, privateKey } = authority.issue({ addresses: ['127.0.0.1'], notAfter: AGENTS_END });
  const options = { cert: chain, key: privateKey, ca: authority.certificate, requestCert: true };
  const { hostname, port } = new URL(agent.address);
  const server = createServer(options, (client) => {
    const inner = connect(Number(port), hostname);
    client.pipe(inner).pipe(client);
    for (const [one, other] of [
      [client, inner],
      [inner, client],
    ] as const)
      one.on('error', () => undefined).on('close', () => other.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A configuration with a client certificate for the agent at `address`. */
async function folderFor(address: string) {
  const client = authority.issue({ commonName: 'gateway', notAfter: OWN_END });
  const tls = { caFile: 'ca.pem', certFile: 'client.pem', keyFile: 'client-key.pem' };
  return folder({
    'ca.pem': authority.certificate,
    'client.pem': client.chain,
    'client-key.pem': client.privateKey,
    'meshgate.yaml': { ...TEST_CONFIG, sources: [{ use: 'consul', address, ...tls }] },
    'sidecar.yaml': { admin: { port: 0 }, sources: [{ use: 'consul', address, ...tls }] },
  });
}

async function expiries({ admin }: ReadyDaemon): Promise<Readonly<Record<string, Date>>> {
  const text = await (await fetch(new URL('/metrics', admin))).text();
  const series = text.matchAll(/^meshgate_(?:plugin_consul_)?(?:agent_certificate|root)_expiry\w*\{(.*)\} (\S+)$/gm);
  return Object.fromEntries(Array.from(series, ([, labels = '', at]) => [labels, new Date(Number(at) * 1_000)]));
}

/** Waits until exactly these are reported. */
function untilExpiries(proxy: ReadyDaemon, expected: Readonly<Record<string, Date>>): Promise<true> {
  const attempt = async (): Promise<true> => {
    expect(await expiries(proxy)).toEqual(expected);
    return true;
  };
  return eventually('other times', attempt, 10_000);
}

const roots = (name: string, ...ends: readonly Date[]): readonly string[] =>
  ends.map((notAfter) => certificateAuthority(name, { notAfter }).certificate);

it('a gateway reports when the certificate of the agent, its own certificate, and the roots of the mesh and of each peer expire', async () => {
  const mesh: StandInMesh = { roots: roots('mesh', MESH_END) };
  const peerings = [
    { Name: 'beta', PeerCAPems: roots('beta', EARLIER, PEER_END) },
    { Name: 'silent' },
    { Name: 'broken', PeerCAPems: ['-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----'] },
  ];
  await using agent = await standInAgent({ mesh: { ...mesh, peerings } });
  await using files = await folderFor(await overTls(agent));
  await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
  const ofAgent = { 'certificate="agent"': AGENTS_END, 'certificate="client"': OWN_END };
  await untilExpiries(gateway, {
    ...ofAgent,
    'authority="mesh"': MESH_END,
    'authority="peer beta"': PEER_END,
  });
  agent.change({ ...mesh, peerings: [] });
  await untilExpiries(gateway, { ...ofAgent, 'authority="mesh"': MESH_END });
});

it('roots of peers are no longer reported once a reload has replaced their agent', async () => {
  const mesh = (peer: string): StandInMesh => ({
    roots: roots('mesh', MESH_END),
    peerings: [{ Name: peer, PeerCAPems: roots(peer, PEER_END) }],
  });
  await using first = await standInAgent({ mesh: mesh('alpha') });
  await using second = await standInAgent({ mesh: mesh('beta') });
  const of = ({ address }: StandInAgent): object => ({ ...TEST_CONFIG, sources: [{ use: 'consul', address }] });
  await using files = await folder({ 'meshgate.yaml': of(first) });
  await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
  await untilExpiries(gateway, { 'authority="mesh"': MESH_END, 'authority="peer alpha"': PEER_END });
  await files.write('meshgate.yaml', of(second));
  expect(await gateway.query('/reload', { method: 'POST' })).toMatchObject({ status: 200 });
  await untilExpiries(gateway, { 'authority="mesh"': MESH_END, 'authority="peer beta"': PEER_END });
});

it('a sidecar reports when the certificates between it and its agent expire', async () => {
  await using agent = await standInAgent();
  await using files = await folderFor(await overTls(agent));
  const command = ['sidecar', '--proxy-id', 'web-proxy', '--config', `${files.path}/sidecar.yaml`];
  await using sidecar = await readyDaemon(
    (node, main) => spawn(node, [main, ...command], { stdio: ['ignore', 'pipe', 'pipe'] }),
    'started',
  );
  await untilExpiries(sidecar, { 'certificate="agent"': AGENTS_END, 'certificate="client"': OWN_END });
});
