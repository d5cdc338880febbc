// docs/peering.md is run against a stand-in Consul agent in each of its two clusters.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { consulProxyParts, parseSettings } from '@meshgate/consul-source';
import { certificateAuthority, rawClient, standInAgent } from '@meshgate/testkit';
import type { StandInAgent, StandInMesh } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../src/config/config.ts';
import { folder, meshgate, spawnMeshgate } from './daemon.ts';
import type { Daemon } from './daemon.ts';
import { eventually } from './federation/eventually.ts';
import { blocksIn, pageText, rowsIn } from './page.ts';
import { freePorts } from './sidecar/agent.ts';

const PAGE = pageText('docs/peering.md');
const ALPHA_DOMAIN = 'aaaaaaaa-2222-3333-4444-555555555555.consul';
const BETA_DOMAIN = 'bbbbbbbb-2222-3333-4444-555555555555.consul';
const SETTLED_MS = 20_000;
const TEST_MS = 60_000;

const DB = { name: 'db-sidecar-proxy', kind: 'connect-proxy', destination: 'db', address: '10.0.0.21', port: 21_000 };
/** The exporting cluster. */
const ALPHA: StandInMesh = {
  trustDomain: ALPHA_DOMAIN,
  services: [{ name: 'db', port: 5_432 }, DB, { ...DB, id: 'db-2', node: 'node-2', address: '10.0.0.22' }],
  peerings: [{ Name: 'beta' }],
  exports: { beta: ['db'] },
};
/** The importing cluster: instead of instances it has the gateways of the other one. */
const BETA: StandInMesh = {
  trustDomain: BETA_DOMAIN,
  services: [
    {
      name: 'db-sidecar-proxy',
      id: 'db-sidecar-proxy-instance-0',
      kind: 'connect-proxy',
      destination: 'db',
      address: '10.0.0.5',
      port: 8_443,
      wan: { address: '203.0.113.5', port: 443 },
      peer: 'alpha',
      peerMeta: {
        SNI: [`db.default.default.beta.external.${ALPHA_DOMAIN}`],
        SpiffeID: [`spiffe://${ALPHA_DOMAIN}/ns/default/dc/dc1/svc/db`],
        Protocol: 'tcp',
      },
    },
    { name: 'db', node: 'node-of-db', port: 5_432, peer: 'alpha' },
  ],
  peerings: [{ Name: 'alpha' }],
};

function block(language: string, label: string): string {
  const found = blocksIn(PAGE, language).find((one) => one.label === label);
  if (found === undefined) throw new Error(`expected a block ${language} ${label}, found none`);
  return found.text;
}

/** A gateway with the command of the page, except for its addresses. */
class PageGateway implements AsyncDisposable {
  readonly agent: StandInAgent;
  readonly #daemon: Daemon;

  private constructor(agent: StandInAgent, daemon: Daemon) {
    this.agent = agent;
    this.#daemon = daemon;
  }

  static async of(mesh: StandInMesh): Promise<PageGateway> {
    const agent = await standInAgent({ mesh });
    const [port] = await freePorts(1);
    const words = block('sh', 'gateway')
      .trim()
      .replaceAll(/\d+\.\d+\.\d+\.\d+:\d+/g, `127.0.0.1:${port}`)
      .split(' ')
      .slice(1);
    return new PageGateway(
      agent,
      spawnMeshgate([...words, '--http-addr', agent.address, '--admin-bind', '127.0.0.1:0']),
    );
  }

  /** The output of `explain` for the name on the page, once it `holds`. */
  explained(holds: (text: string) => boolean): Promise<string> {
    return eventually(
      'an explanation',
      async () => {
        const { admin } = await this.#daemon.logged('ready');
        const words = block('sh', 'explain').trim().split(' ').slice(1);
        const { stdout } = await meshgate([...words, '--admin', String(admin)]);
        return holds(stdout) ? stdout : Promise.reject(new Error(stdout));
      },
      SETTLED_MS,
    );
  }

  /** A warning of `GET /ready` that contains `text`. */
  warning(text: string): Promise<string> {
    return eventually(
      `a warning: ${text}`,
      async () => {
        const { admin } = await this.#daemon.logged('ready');
        const { warnings } = (await (await fetch(new URL('/ready', String(admin)))).json()) as {
          readonly warnings: readonly string[];
        };
        return warnings.find((one) => one.includes(text)) ?? Promise.reject(new Error(warnings.join('\n')));
      },
      SETTLED_MS,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon[Symbol.asyncDispose]();
    await this.agent[Symbol.asyncDispose]();
  }
}

/** Columns of a line, which are separated by two or more spaces. */
function cellsOf(text: string): readonly string[] {
  return text
    .trim()
    .split(/\n| {2,}/)
    .map((cell) => cell.trim())
    .filter(Boolean);
}

/** The stand-in agent's data for a sidecar of `web` in beta, with the upstream of the page. */
function sidecarResponses(port: number): Readonly<Record<string, unknown>> {
  const authority = certificateAuthority('beta', { uris: [`spiffe://${BETA_DOMAIN}`] });
  const leaf = authority.issue({ uris: [`spiffe://${BETA_DOMAIN}/ns/default/dc/dc1/svc/web`] });
  const Upstreams = [{ DestinationName: 'db', DestinationPeer: 'alpha', LocalBindPort: port }];
  const proxy = {
    ID: 'web-sidecar-proxy',
    Service: 'web-sidecar-proxy',
    Kind: 'connect-proxy',
    Address: '127.0.0.1',
    Port: 0,
    Proxy: { DestinationServiceName: 'web', DestinationServiceID: 'web', Upstreams },
  };
  return {
    'agent/services': { [proxy.ID]: proxy },
    [`agent/service/${proxy.ID}`]: proxy,
    'agent/connect/ca/leaf/web': { CertPEM: leaf.chain, PrivateKeyPEM: leaf.privateKey },
    'agent/connect/ca/roots': { TrustDomain: BETA_DOMAIN, Roots: [{ RootCert: authority.certificate }] },
  };
}

const NO_PEERING_RULE = { 'peerings*': 'peering:read', 'peering/*': 'peering:read' };

/** Injects a fault of the table: resolves when the symptom on the page is visible. */
type Fault = (seen: string, gateway: PageGateway) => Promise<void>;

const IN_BETA: Readonly<Record<string, Fault>> = {
  'gateway, `/ready` warns: `the peering is FAILING`': async (seen, gateway) => {
    gateway.agent.change({ ...BETA, peerings: [{ Name: 'alpha', State: 'FAILING' }] });
    expect(await gateway.warning(seen)).toContain('alpha');
    expect(await gateway.explained((text) => text.includes('FAILING'))).toContain('203.0.113.5:443');
  },
  'gateway, `/ready` warns: `peerings cannot be read`': async (seen, gateway) => {
    gateway.agent.deny(NO_PEERING_RULE);
    await gateway.warning(seen);
    gateway.agent.deny({});
  },
  'gateway, `/ready` warns: `the peer sent proxies of`': async (seen, gateway) => {
    gateway.agent.change({ ...BETA, services: (BETA.services ?? []).filter(({ kind }) => kind === 'connect-proxy') });
    expect(await gateway.warning(seen)).toContain('no instance of db itself');
    await gateway.explained((text) => text.includes('no route'));
  },
};

const IN_ALPHA: Readonly<Record<string, Fault>> = {
  'gateway, `explain` shows `refused`: `not routed, exported with`': async (seen, gateway) => {
    gateway.agent.change({ ...ALPHA, entries: [{ Kind: 'service-defaults', Name: 'db', Protocol: 'http' }] });
    const text = await gateway.explained((found) => found.includes('refused'));
    expect(text).toContain(seen);
    expect(text).toMatch(/Protocol = "tcp" in service-defaults\/db, or httpExports: passthrough/);
  },
  'gateway, `explain` finds no route for an export': async (_seen, gateway) => {
    gateway.agent.change({ ...ALPHA, services: [{ name: 'db', port: 5_432 }] });
    await gateway.explained((text) => text.includes('no route'));
  },
};

const AT_SIDECARS: Readonly<Record<string, (seen: string) => Promise<void>>> = {
  'sidecar, `/ready` warns: `roots of peer NAME cannot be read`': (seen) => expectOfSidecar('ready', seen),
  'sidecar, log: `no server of peer NAME can be trusted`': (seen) => expectOfSidecar('log', seen),
  'sidecar, log: `no intention for callers of peer NAME`': (seen) =>
    expectRefusal({ ...ALPHA, intentionDefault: 'deny' }, seen),
  'sidecar, `/ready` warns: `exports to peer NAME cannot be read`': expectHiddenExports,
  'sidecar, log: `is not exported to peer NAME`': (seen) => expectRefusal({ ...ALPHA, exports: {} }, seen),
};

/** A caller from a peer at the sidecar of `db`. */
function callerOfPeer() {
  const location = { partition: 'default', namespace: 'default', datacenter: 'dc1' };
  const uri = `spiffe://${BETA_DOMAIN}/ns/default/dc/dc1/svc/web`;
  const source = { kind: 'service', trustDomain: BETA_DOMAIN, service: 'web', ...location } as const;
  return { source, sourcePeer: 'alpha', uri, serialNumber: '01' };
}

async function expectHiddenExports(seen: string): Promise<void> {
  const responses = sidecarResponses(0);
  await using agent = await standInAgent({
    mesh: ALPHA,
    responses,
    denied: { 'internal/ui/exported-services': 'filtered' },
  });
  const { proxy, authorizer } = consulProxyParts({ address: agent.address }, { sidecarFor: 'web' });
  const watching = new AbortController();
  await authorizer.authorize(callerOfPeer(), { destination: 'db' });
  for await (const { warnings = [] } of proxy.watch(watching.signal))
    if (warnings.some((one) => one.includes(seen))) watching.abort();
  expect(watching.signal.aborted).toBe(true);
  await authorizer.stop(new AbortController().signal);
}

async function expectRefusal(mesh: StandInMesh, seen: string): Promise<void> {
  await using agent = await standInAgent({ mesh });
  const { authorizer } = consulProxyParts({ address: agent.address }, { sidecarFor: 'db' });
  const { signal } = new AbortController();
  const caller = callerOfPeer();
  const { allowed, reason } = await authorizer.authorize(caller, { destination: 'db' });
  expect([allowed, reason]).toEqual([false, expect.stringContaining(seen)]);
  await authorizer.stop(signal);
}

/** The words in the first column of the table are visible. */
function seenIn(what: string): string {
  const [, seen = ''] = /`([^`/]+)`$/.exec(what) ?? [];
  return seen.replace('NAME', 'alpha');
}

async function expectOfSidecar(where: 'ready' | 'log', seen: string): Promise<void> {
  const [port = 0] = await freePorts(1);
  const mesh = { ...BETA, intentionDefault: 'allow' as const };
  await using agent = await standInAgent({ mesh, responses: sidecarResponses(port), denied: NO_PEERING_RULE });
  const words = ['sidecar', '--sidecar-for', 'web', '--http-addr', agent.address, '--admin-bind', '127.0.0.1:0'];
  await using sidecar = spawnMeshgate(words);
  const { admin } = await sidecar.logged('ready');
  if (where === 'ready') {
    const text = await (await fetch(new URL('/ready', String(admin)))).text();
    return expect(text).toContain(seen);
  }
  await sidecar.line(
    ({ msg, listener }) => listener === 'upstream:db@alpha.peer' && String(msg).startsWith('listening'),
  );
  await using client = await rawClient({ host: '127.0.0.1', port });
  await client.send('hello');
  const { code, reason } = await sidecar.line((line) => 'durationMs' in line);
  expect([code, reason]).toEqual(['UPSTREAM_UNTRUSTED', expect.stringContaining(seen)]);
}

describe('docs/peering.md', () => {
  it('has each fault that is injected here, and no other', () => {
    const faults = rowsIn(PAGE.split('## Faults')[1] ?? '').map(([what = '']) => what);
    expect(faults).toEqual(Object.keys({ ...IN_BETA, ...IN_ALPHA, ...AT_SIDECARS }));
  });

  it.each([
    ['beta', BETA, IN_BETA],
    ['alpha', ALPHA, IN_ALPHA],
  ] as const)(
    'shows what explain prints in %s, and the effect of each fault',
    async (cluster, mesh, faults) => {
      await using gateway = await PageGateway.of(mesh);
      const stdout = await gateway.explained((text) => text.includes('healthy'));
      expect(cellsOf(stdout)).toEqual(cellsOf(block('text', cluster)));
      for (const [what, inject] of Object.entries<Fault>(faults)) await inject(seenIn(what), gateway);
    },
    TEST_MS,
  );

  it.each(Object.entries(AT_SIDECARS))(
    'is right about the effect: %s',
    (what, inject) => inject(seenIn(what)),
    TEST_MS,
  );

  it('shows valid settings, a policy of one rule, and an upstream that is also valid in mesh files', async () => {
    const [settings] = blocksIn(PAGE, 'yaml');
    const { sources } = parseConfig(settings?.text ?? '', 'meshgate.yaml');
    expect(parseSettings(sources[0]?.settings)).toEqual({ trustBundles: { alpha: '/etc/meshgate/alpha-roots.pem' } });
    const rule = block('hcl', 'policy');
    expect(rule.trim()).toBe('peering = "read"');
    // What is on other pages is tested with a real agent.
    const [gateway] = /^```hcl\n(service "mesh-gateway" [^]*?)^```$/m.exec(pageText('docs/consul.md'))?.slice(1) ?? [];
    expect(block('hcl', 'gateway')).toBe(`${gateway}${rule}`);
    for (const line of block('hcl', 'sidecar').replace(rule, '').trim().split('\n'))
      expect(pageText('docs/sidecar.md').replaceAll(/\s+/g, ' ')).toContain(line);
    const upstream = /^ *```hcl upstream\n([^]*?)^ *```$/m.exec(PAGE)?.[1] ?? '';
    await using files = await folder();
    await mkdir(join(files.path, 'mesh/dc1'), { recursive: true });
    await files.write('mesh/dc1/web.hcl', upstream);
    const source = { use: 'file', mesh: 'mesh', datacenter: 'dc1', trustDomain: BETA_DOMAIN };
    const listeners = [{ name: 'one', address: '127.0.0.1', port: 0 }];
    await files.write('meshgate.yaml', JSON.stringify({ listeners, sources: [source] }));
    const { status, stderr } = await meshgate(['gateway', '--check', '--config', join(files.path, 'meshgate.yaml')]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });
});
