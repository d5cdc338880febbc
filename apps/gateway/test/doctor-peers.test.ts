import { certificateAuthority, standInAgent, tlsBackend } from '@meshgate/testkit';
import type { StandInMesh, StandInService } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { TEST_CONFIG } from './daemon.ts';
import { findingsAt, firstFailure } from './doctor-scene.ts';
import type { Finding } from '../src/live-check/finding.ts';
import { freePorts } from './sidecar/agent.ts';

const OWN = '11111111-2222-3333-4444-555555555555.consul';
const THEIRS = 'bbbbbbbb-2222-3333-4444-555555555555.consul';
const IMPORTED = `refunds.default.default.here.external.${THEIRS}`;
const EXPORTED = `db.default.default.beta.external.${OWN}`;
const NOW = new Date();
const DAY_MS = 86_400_000;

function roots(endsInDays: number): readonly string[] {
  const notAfter = new Date(Math.floor((NOW.getTime() + endsInDays * DAY_MS) / 1_000) * 1_000);
  return [certificateAuthority('beta', { uris: [`spiffe://${THEIRS}`], notAfter }).certificate];
}

const BETA = {
  Name: 'beta',
  PeerCAPems: roots(1_000),
  StreamStatus: { ImportedServices: ['a'], ExportedServices: [] },
};

/** The export of the peer, behind its gateway at `port`. */
function refundsAt(port: number): readonly StandInService[] {
  const proxy: StandInService = {
    name: 'refunds-sidecar-proxy',
    kind: 'connect-proxy',
    destination: 'refunds',
    address: '127.0.0.1',
    port,
    peer: 'beta',
    peerMeta: { SNI: [IMPORTED], SpiffeID: [`spiffe://${THEIRS}/ns/default/dc/dc1/svc/refunds`], Protocol: 'tcp' },
  };
  return [
    { name: 'refunds', node: 'node-refunds', address: '127.0.0.1', port: 1, peer: 'beta' },
    { ...proxy, node: 'node-refunds' },
  ];
}

/** `db` of this cluster, at `port`. */
function dbAt(port: number): readonly StandInService[] {
  const application = { name: 'db', address: '127.0.0.1', port: 1 };
  return [application, { ...application, name: 'db-proxy', kind: 'connect-proxy', destination: 'db', port }];
}

async function findings(mesh: StandInMesh, serverName?: string, denied?: Readonly<Record<string, string>>) {
  await using agent = await standInAgent({ mesh, ...(denied !== undefined && { denied }) });
  const sources = [{ use: 'consul', address: agent.address, register: { address: '127.0.0.1:8443' } }];
  return await findingsAt({
    files: { 'meshgate.yaml': { ...TEST_CONFIG, sources } },
    ...(serverName !== undefined && { serverName }),
  });
}

const linesOf = (all: readonly Finding[], check: RegExp): readonly string[] =>
  all.filter((one) => check.test(one.check)).map(({ check: what, outcome, found }) => `${outcome} ${what}: ${found}`);

describe('meshgate doctor reports for each peer', () => {
  it('its state, what is replicated, and the expiry of its roots; and reaches it through its gateways', async () => {
    await using gateway = await tlsBackend(IMPORTED);
    const all = await findings({ peerings: [BETA], services: refundsAt(gateway.address.port) });
    expect(linesOf(all, /peer|imported/)).toEqual([
      'ok peer beta: ACTIVE: the servers of both clusters replicate exported services, imports 1, exports 0',
      expect.stringMatching(/^ok roots of peer beta: expire at 20/),
      expect.stringMatching(/^ok route imported:beta\/refunds .*: TLS of refunds/),
    ]);
    // No gateway runs in this test.
    expect(all.filter(({ outcome }) => outcome === 'failed').map(({ check }) => check)).toEqual(['running gateway']);
  });

  it.each([
    ['PENDING', /^peer beta: PENDING: the other cluster has not established it yet; there: consul peering establish/],
    ['ESTABLISHING', /^peer beta: ESTABLISHING: no response from .* yet; its servers must be reachable/],
    ['FAILING', /^peer beta: FAILING: .* lost contact.*; check .* consul peering read -name beta$/],
    ['TERMINATED', /^peer beta: TERMINATED: the other cluster terminated it; consul peering delete -name beta/],
  ])('that it is %s, as the cause', async (State, expected) => {
    expect(firstFailure(await findings({ peerings: [{ ...BETA, State }] }))).toMatch(expected);
  });

  it('that its roots have expired, or will soon', async () => {
    const expired = await findings({ peerings: [{ ...BETA, PeerCAPems: roots(-1) }] });
    expect(firstFailure(expired)).toMatch(/^roots of peer beta: expired at 20.*; the peer must rotate/);
    const soon = await findings({ peerings: [{ ...BETA, PeerCAPems: roots(3) }] });
    expect(linesOf(soon, /^roots/)).toEqual([expect.stringMatching(/^warning roots of peer beta: expire at /)]);
    const none = await findings({ peerings: [{ Name: 'beta' }] });
    expect(linesOf(none, /^roots/)).toEqual([
      expect.stringMatching(/^warning roots of peer beta: the agent shows none/),
    ]);
  });

  it('that nothing listens at its gateway, or that it has none', async () => {
    const [port = 0] = await freePorts(1);
    const gone = await findings({ peerings: [BETA], services: refundsAt(port) });
    expect(firstFailure(gone)).toMatch(/^route imported:beta\/refunds .*: nothing listens there/);
    const none = await findings({ peerings: [BETA], services: refundsAt(0) });
    expect(firstFailure(none)).toMatch(/^route imported:beta\/refunds .*: no gateway known/);
  });

  it('that the token may not read it', async () => {
    const all = await findings({ peerings: [BETA] }, undefined, { 'peering*': 'peering:read' });
    expect(linesOf(all, /^peers$/)).toEqual(['warning peers: unknown']);
  });

  it('nothing for a name that leads elsewhere, and all peers for a name of peers without a route', async () => {
    await using db = await tlsBackend('db');
    const mesh = { peerings: [{ ...BETA, State: 'FAILING' }], services: dbAt(db.address.port) };
    const local = await findings(mesh, `db.default.dc1.internal.${OWN}`);
    expect(linesOf(local, /^peer /)).toEqual([]);
    expect(firstFailure(await findings(mesh, IMPORTED))).toMatch(/^peer beta: FAILING/);
  });
});

describe('the intentions that meshgate doctor shows for a name', () => {
  it('are those about callers of the peer, for an exported service', async () => {
    await using db = await tlsBackend('db');
    const rule = (SourceName: string, Action: string, SourcePeer = ''): Readonly<Record<string, string>> => ({
      SourceName,
      SourcePeer,
      DestinationName: 'db',
      Action,
    });
    const services = dbAt(db.address.port);
    const mesh = { peerings: [BETA], exports: { beta: ['db'] }, services };
    const denied = { ...mesh, intentions: [rule('*', 'deny', 'beta'), rule('web', 'allow')] };
    expect(firstFailure(await findings(denied, EXPORTED))).toMatch(
      /^intentions to db from peer beta: deny \*; all sources of the peer are denied: write a source with Peer = "beta"/,
    );
    const local = { ...mesh, intentions: [rule('*', 'deny', 'beta'), rule('*', 'allow')] };
    expect(linesOf(await findings(local, `db.default.dc1.internal.${OWN}`), /^intentions/)).toEqual([
      'ok intentions to db: allow *',
    ]);
  });

  it('are those of the peer, for an imported service', async () => {
    await using gateway = await tlsBackend(IMPORTED);
    const all = await findings({ peerings: [BETA], services: refundsAt(gateway.address.port) }, IMPORTED);
    expect(linesOf(all, /^intentions/)).toEqual([
      'ok intentions to refunds: those of peer beta apply: run meshgate doctor with the name there',
    ]);
  });
});

describe('meshgate doctor with mesh files of two clusters', () => {
  const service = (name: string, port: number): string =>
    `service { name = "${name}", port = 1, address = "127.0.0.1", connect { sidecar_service { port = ${port} } } }`;
  const gateway = (port: number): string =>
    `service { name = "mesh-gateway", kind = "mesh-gateway", port = ${port}, address = "127.0.0.1",
       tagged_addresses { wan { address = "127.0.0.1", port = ${port} } } }`;
  const exported = `Kind = "exported-services"
    Name = "default"
    Services = [ { Name = "refunds", Consumers = [ { Peer = "here" } ] } ]`;

  function files(peerGateway: number, ca: readonly string[], intentions = ''): Readonly<Record<string, unknown>> {
    const beta = { datacenter: 'dc1', trustDomain: THEIRS, knownAs: 'here', ca: 'beta-ca.pem' };
    const source = { use: 'file', mesh: 'mesh', datacenter: 'dc1', trustDomain: OWN, peers: { beta } };
    return {
      'meshgate.yaml': { ...TEST_CONFIG, sources: [source] },
      'beta-ca.pem': ca.join(''),
      'mesh/dc1/db.hcl': service('db', 2),
      'mesh/dc1/intentions.hcl': intentions,
      'mesh/peers/beta/dc1/refunds.hcl': service('refunds', 3),
      'mesh/peers/beta/dc1/gateway.hcl': gateway(peerGateway),
      'mesh/peers/beta/dc1/exports.hcl': exported,
    };
  }

  it('reports the exports of the peer, the expiry of its roots, and whether its gateway responds', async () => {
    await using beta = await tlsBackend(IMPORTED);
    const all = await findingsAt({ files: files(beta.address.port, roots(1_000)) });
    expect(linesOf(all, /peer beta|imported/)).toEqual([
      'ok peer beta: of mesh files, imports 1, exports 0',
      expect.stringMatching(/^ok roots of peer beta: expire at /),
      expect.stringMatching(/^ok route imported:beta\/refunds .*: TLS of refunds/),
    ]);
    const [port = 0] = await freePorts(1);
    const gone = await findingsAt({ files: files(port, roots(1_000)), serverName: IMPORTED });
    expect(firstFailure(gone)).toMatch(/^route imported:beta\/refunds: .*: nothing listens there/);
    const expired = await findingsAt({ files: files(port, roots(-1)) });
    expect(firstFailure(expired)).toMatch(/^roots of peer beta: expired at /);
  });

  it('names an intention that denies', async () => {
    const intentions = `Kind = "service-intentions"
      Name = "db"
      Sources = [ { Name = "*", Action = "deny" } ]`;
    const all = await findingsAt({
      files: files(1, roots(1_000), intentions),
      serverName: `db.default.dc1.internal.${OWN}`,
    });
    expect(firstFailure(all)).toMatch(/^intentions to db: deny \*; all sources are denied/);
  });
});
