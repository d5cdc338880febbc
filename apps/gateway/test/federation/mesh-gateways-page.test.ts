// docs/mesh-gateways.md follows the page of Consul's documentation that introduced mesh gateways, with every
// configuration unchanged. Here the same files are given to Consul's own commands, and are mesh files; a sidecar runs
// with them, and requests are sent. Only the addresses in the page's tables differ: these networks have their own.
import type { Endpoint } from '@meshgate/core';
import { rawClient } from '@meshgate/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pageText, rowsIn, sectionsIn } from '../page.ts';
import { describeInNetworks, describeInNetworksOnly } from './consul.ts';
import type { DaemonProcess, RouteShown } from './daemon.ts';
import { eventually } from './eventually.ts';
import { DATACENTERS, FAR_GATEWAY, lanOf, meshInConsul, meshInFiles, NEAR_GATEWAY, wanOf } from './page-mesh.ts';
import type { PageMesh } from './page-mesh.ts';
import { carriedOn } from './sidecar-mesh.ts';

const SET_UP_MS = 120_000;
// An agent has new central configuration at once; data about the other datacenter may take some seconds.
const KNOWN_MS = 60_000;

/** What a row of a table on the page states about an upstream. */
interface Row {
  readonly service: string;
  readonly port: number;
  readonly path: string;
  readonly decidedBy: string;
}

const sections = sectionsIn(pageText('docs/mesh-gateways.md'))
  .map((section) => ({ title: section.split('\n', 1)[0] ?? '', rows: rowsIn(section).flatMap(rowOf), section }))
  .filter(({ rows }) => rows.length > 0);

describe('docs/mesh-gateways.md', () => {
  it('has all five configurations of the original, and the defaults without any and with a redirect', () =>
    expect(sections).toHaveLength(7));

  describeInNetworks('with Consul, whose commands take its texts', () => claims(meshInConsul));
  describeInNetworksOnly('without Consul, its texts being mesh files', () => claims(meshInFiles));
});

function claims(create: () => Promise<PageMesh>): void {
  let mesh: PageMesh;
  beforeAll(async () => {
    mesh = await create();
  }, SET_UP_MS);
  afterAll(() => mesh[Symbol.asyncDispose]());

  it.each(sections)(
    '$title: requests take the path in its table',
    async ({ section, rows }) => {
      await using sidecar = await mesh.sidecarOf(section);
      for (const row of rows) await showsIn(mesh, sidecar.daemon, row);
    },
    KNOWN_MS,
  );
}

/**
 * A request of the application takes the path in the row, with no other path available, and passes no other gateway.
 */
async function showsIn(mesh: PageMesh, sidecar: DaemonProcess, { service, port, path, decidedBy }: Row): Promise<void> {
  const isHome = decidedBy.startsWith('same datacenter');
  const { to, passed } = pathOf(service, path, isHome);
  await mesh.machine.reaches(to.host);
  const { name } = await routeTo(sidecar, service, to);
  await sidecar.line(({ listener, msg }) => listener === name && String(msg).startsWith('listening'));
  const before = await carriedBy(mesh.gateways);
  await echo(await mesh.machine.inside.to({ host: '127.0.0.1', port }));
  const line = await sidecar.line(carriedOn(name));
  const datacenter = isHome ? DATACENTERS[0] : DATACENTERS[1];
  expect(line).toMatchObject({
    path,
    backend: `${to.host}:${to.port}`,
    identity: `spiffe://${mesh.trustDomain}/ns/default/dc/${datacenter}/svc/${service}`,
  });
  expect(withoutPositions(String(line['decidedBy']))).toBe(decidedBy);
  await eventually(
    `gateways that have counted ${passed.join(' and ')}`,
    async () => {
      const now = await carriedBy(mesh.gateways);
      const seen = now.map((count, index) => count - (before[index] ?? 0));
      if (seen.join() === passed.join()) return true;
      throw new Error(seen.join());
    },
    KNOWN_MS,
  );
}

/** Waits until the upstream leads to `to`, and its backend is healthy. */
function routeTo(sidecar: DaemonProcess, service: string, to: Endpoint): Promise<RouteShown> {
  const leadsThere = ({ name, backends }: RouteShown): boolean =>
    name.startsWith(`upstream:${service}`) && backends.some(({ host, healthy }) => host === to.host && healthy);
  return eventually(
    `an upstream ${service} that leads to ${to.host}`,
    async () => (await sidecar.routes()).find(leadsThere),
    KNOWN_MS,
  );
}

async function echo(at: Endpoint): Promise<void> {
  await using client = await rawClient(at);
  await client.send('hello');
  expect((await client.receive(5)).toString()).toBe('hello');
}

/** Number of closed service connections per gateway. */
function carriedBy(gateways: readonly DaemonProcess[]): Promise<readonly number[]> {
  const isService = (labels: string): boolean => /route="(?:service|datacenter):/.test(labels);
  return Promise.all(gateways.map((gateway) => gateway.metric('meshgate_connections_closed_total', isService)));
}

/** What the sidecar dials, and how many connections the gateways of the primary and of the secondary carry for it. */
function pathOf(
  service: string,
  path: string,
  isHome: boolean,
): { readonly to: Endpoint; readonly passed: readonly number[] } {
  if (path === 'local-gateway') return { to: NEAR_GATEWAY, passed: [1, 1] };
  if (path === 'remote-gateway') return { to: FAR_GATEWAY, passed: [0, 1] };
  return { to: isHome ? lanOf(service, 1) : wanOf(service), passed: [0, 0] };
}

function rowOf([upstream = '', path = '', _dials, decidedBy = '']: readonly string[]): readonly Row[] {
  const [, port, service = ''] = /^`127\.0\.0\.1:(\d+)`, (\w+)$/.exec(upstream) ?? [];
  if (port === undefined) return [];
  return [{ service, port: Number(port), path: path.replaceAll('`', ''), decidedBy: withoutPositions(decidedBy) }];
}

/** The place where a mode is set is a file on the page, and may be an entry in Consul. */
function withoutPositions(decidedBy: string): string {
  return decidedBy.replaceAll(/ \([^)]*\)/g, '');
}
