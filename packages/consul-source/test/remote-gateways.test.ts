import { standInAgent } from '@meshgate/testkit';
import type { StandInMesh, StandInService } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { consulSource } from '../src/index.ts';
import { shown, Watched } from './watched.ts';

const STATES = 'internal/federation-states/mesh-gateways';
const GATEWAY: StandInService = {
  name: 'gw',
  kind: 'mesh-gateway',
  address: '10.0.0.2',
  port: 443,
  wan: { address: '198.18.0.2', port: 443 },
};
const MESH: StandInMesh = { remoteGateways: { dc2: [GATEWAY] } };

/** A federation state as it is replicated, from before or after the registration in the catalog. */
function state(address: string, ModifyIndex: number): unknown {
  const Service = { ID: 'gw', Service: 'gw', Kind: 'mesh-gateway', Address: address, Port: 443, ModifyIndex };
  return { dc2: [{ Node: { Node: 'n2', Address: address, Datacenter: 'dc2' }, Service, Checks: [] }] };
}

describe('the gateways of a datacenter', () => {
  it.each([
    ['has no federation state', { [STATES]: {} }],
    ['has no gateway in its federation state', { [STATES]: { dc1: [], dc2: [] } }],
  ])('are queried directly where it %s', async (_case, responses) => {
    await using agent = await standInAgent({ mesh: MESH, responses });
    await using routes = new Watched(consulSource({ address: agent.address }));
    const first = await routes.until((at) => at.routes.some(({ kind }) => kind === 'remote-datacenter'));
    expect(shown(first, 'datacenter:dc2')).toBe('198.18.0.2:443');
  });

  it('are queried directly where it has an older federation state', async () => {
    await using agent = await standInAgent({ mesh: MESH, responses: { [STATES]: state('198.18.0.9', 0) } });
    await using routes = new Watched(consulSource({ address: agent.address }));
    await routes.until((at) => shown(at, 'datacenter:dc2') === '198.18.0.2:443');
  });

  it('are queried directly if the token cannot read federation states', async () => {
    await using agent = await standInAgent({ mesh: MESH, denied: { [STATES]: 'operator:read' } });
    await using routes = new Watched(consulSource({ address: agent.address }));
    const found = await routes.until((at) => shown(at, 'datacenter:dc2') !== undefined);
    expect(shown(found, 'datacenter:dc2')).toBe('198.18.0.2:443');
  });

  it('are those of the state where that is newer', async () => {
    await using agent = await standInAgent({ mesh: MESH, responses: { [STATES]: state('198.18.0.9', 900) } });
    await using routes = new Watched(consulSource({ address: agent.address }));
    const found = await routes.until((at) => shown(at, 'datacenter:dc2') !== undefined);
    expect(shown(found, 'datacenter:dc2')).toBe('198.18.0.9:443');
  });

  it('are those of the state when the datacenter does not respond', async () => {
    await using agent = await standInAgent({ mesh: MESH });
    agent.misbehave(
      { kind: 'status', status: 500, body: 'No path to datacenter' },
      (path) => path === 'internal/ui/services',
    );
    await using routes = new Watched(consulSource({ address: agent.address }));
    const found = await routes.until((at) => shown(at, 'datacenter:dc2') !== undefined);
    expect(shown(found, 'datacenter:dc2')).toBe('198.18.0.2:443');
  });

  it('disappear at once when the last one is deregistered, and its names stay with the reason', async () => {
    await using agent = await standInAgent({ mesh: MESH });
    await using routes = new Watched(consulSource({ address: agent.address }));
    await routes.until((at) => shown(at, 'datacenter:dc2') === '198.18.0.2:443');
    agent.change({ remoteGateways: { dc2: [] } });
    const { routes: after, warnings } = await routes.until((at) => shown(at, 'datacenter:dc2') === '');
    expect(after.find(({ name }) => name === 'datacenter:dc2')).toMatchObject({ withoutBackend: 'NO_GATEWAY' });
    expect(warnings).toContainEqual(expect.stringContaining('dc2: has no mesh gateway'));
  });

  it('outlive a list without the datacenter, and an answer of it without them, as of servers that have just started', async () => {
    const LISTS = 'catalog/datacenters';
    const SERVICES = 'internal/ui/services?dc=dc2';
    await using agent = await standInAgent({ mesh: MESH, responses: { [STATES]: {} } });
    await using routes = new Watched(consulSource({ address: agent.address }));
    await routes.until((at) => shown(at, 'datacenter:dc2') === '198.18.0.2:443');
    const countOf = (path: string): number => agent.requests.filter((one) => one === `GET ${path}`).length;
    const lost: (string | undefined)[] = [];
    const over = new AbortController();
    const watching = routes.until((at) => {
      if (shown(at, 'datacenter:dc2') !== '198.18.0.2:443') lost.push(shown(at, 'datacenter:dc2'));
      return over.signal.aborted;
    });
    // The agent fails for a moment, and knows nothing of the other datacenter afterwards.
    agent.misbehave({ kind: 'cut' });
    await routes.failure('agent');
    const before = agent.requests.length;
    agent.respond({ [STATES]: {}, [LISTS]: ['dc1'] });
    agent.misbehave(undefined);
    await expect
      .poll(() => agent.requests.slice(before).some((one) => one.includes(LISTS)), { timeout: 15_000 })
      .toBe(true);
    agent.respond({ [STATES]: {}, [SERVICES]: [{ Name: 'consul' }] });
    const first = countOf(SERVICES);
    await expect.poll(() => countOf(SERVICES) - first, { timeout: 15_000 }).toBeGreaterThan(0);
    agent.respond({ [STATES]: {} });
    await expect.poll(() => countOf(SERVICES) - first, { timeout: 15_000 }).toBeGreaterThan(1);
    over.abort();
    agent.change({ remoteGateways: { dc2: [{ ...GATEWAY, status: 'critical' }] } });
    await routes.until((at) => shown(at, 'datacenter:dc2') === '198.18.0.2:443 unhealthy');
    await watching;
    expect(lost.filter((one) => one !== '198.18.0.2:443 unhealthy')).toEqual([]);
  }, 60_000);

  it('that do not respond delay no local route: they are missing with a warning, and added when there is a response', async () => {
    const services = [
      { name: 'db', port: 80 },
      { name: 'db-proxy', kind: 'connect-proxy', destination: 'db', address: '10.0.0.9', port: 20_000 },
    ];
    await using agent = await standInAgent({ mesh: { ...MESH, services }, responses: { [STATES]: {} } });
    agent.misbehave({ kind: 'silence' }, (path) => path === 'internal/ui/services');
    await using routes = new Watched(consulSource({ address: agent.address }));
    // The first snapshot is yielded while the datacenter may still respond.
    const first = await routes.until(() => true);
    expect(shown(first, 'service:db')).toBe('10.0.0.9:20000');
    expect(shown(first, 'datacenter:dc2')).toBeUndefined();
    const { warnings } = await routes.until((at) => shown(at, 'datacenter:dc2') === '');
    expect(warnings).toContainEqual(
      expect.stringContaining('dc2: mesh gateways unknown: no response from the datacenter yet'),
    );
    agent.misbehave(undefined);
    await routes.until((at) => shown(at, 'datacenter:dc2') === '198.18.0.2:443');
  });

  it('that are unknown are a warning with the reason, and a route without a backend', async () => {
    await using agent = await standInAgent({ mesh: MESH, responses: { [STATES]: {} } });
    agent.misbehave(
      { kind: 'status', status: 500, body: 'No path to datacenter' },
      (path) => path === 'internal/ui/services',
    );
    await using routes = new Watched(consulSource({ address: agent.address }));
    const { warnings } = await routes.until((at) => shown(at, 'datacenter:dc2') === '');
    expect(warnings).toContainEqual(expect.stringMatching(/dc2: mesh gateways unknown: .*No path to datacenter/));
  });
});
