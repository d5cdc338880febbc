import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Credentials, ProxyView } from '@meshgate/mesh';
import { expect, it } from 'vitest';
import { consulParts, consulSource } from '../src/index.ts';
import { consulAuthorizer } from '../src/sidecar/authorizer.ts';
import { consulCredentials } from '../src/sidecar/credentials.ts';
import { consulProxySource } from '../src/sidecar/proxy-source.ts';
import { caller } from './caller.ts';
import { Consul, describeWithConsul } from './real-consul.ts';
import { register } from './register.ts';
import { shown, Watched } from './watched.ts';

const MASTER = 'b1f0c2a4-0000-4000-8000-000000000001';
const DENY = { acl: { enabled: true, default_policy: 'deny', tokens: { master: MASTER, agent: MASTER } } };
const forced = new AbortController().signal;

/** The minimum policy in `docs/consul.md`. */
const LEAST = `
service "mesh-gateway" { policy = "write" }
service_prefix "" { policy = "read" }
node_prefix "" { policy = "read" }
`;

/** The policy that `docs/sidecar.md` requires, and what a definition without a kind needs in addition. */
const SIDECARS_LEAST = `
service "web" { policy = "write" }
service "web-sidecar-proxy" { policy = "write" }
service_prefix "" { policy = "read" }
node_prefix "" { policy = "read" }
`;
const AGENT_READ = 'agent_prefix "" { policy = "read" }';

describeWithConsul('with ACLs that deny by default', () => {
  it('the policy in the manual is sufficient to register, to route, to drain, and to deregister', async () => {
    await using consul = await Consul.start(DENY, MASTER);
    await register(consul, 'db', {});
    const token = await tokenFor(consul, 'least', LEAST);
    const parts = consulParts({
      address: consul.address,
      token,
      register: { address: '127.0.0.1:8443', exposeServers: true },
    });
    await parts.registration.start(forced);
    await using routes = new Watched(parts.routes);
    const snapshot = await routes.until((at) => shown(at, 'service:db') === '10.0.0.1:20000');
    expect(snapshot.warnings ?? []).toEqual([]);
    expect(snapshot.routes.map(({ kind }) => kind)).toContain('local-server');
    await parts.registration.drain?.(forced);
    await parts.registration.stop(forced);
    expect(await consul.get('agent/services')).toEqual({});
  });

  it('a token that cannot read nodes is detected, although every response is a success', async () => {
    await using consul = await Consul.start(DENY, MASTER);
    await register(consul, 'db', {});
    const token = await tokenFor(consul, 'no-nodes', 'service_prefix "" { policy = "read" }');
    await using routes = new Watched(consulSource({ address: consul.address, token }));
    await routes.failure('the token cannot read nodes');
    expect(routes.latest).toBeUndefined();
  });

  it('a token that may not read all services is a warning', async () => {
    await using consul = await Consul.start(DENY, MASTER);
    const token = await tokenFor(
      consul,
      'own',
      'service "mesh-gateway" { policy = "write" }\nnode_prefix "" { policy = "read" }',
    );
    await using routes = new Watched(consulSource({ address: consul.address, token, datacenter: 'dc1' }));
    const { warnings } = await routes.until(() => true);
    expect(warnings).toContainEqual(expect.stringContaining('the token may lack service_prefix "" read'));
  });

  it('the policy in the manual is sufficient for a sidecar, for a definition without its kind with agent read', async () => {
    await using consul = await Consul.start(DENY, MASTER);
    const address = consul.address;
    const proxy = (over: object) => ({
      Name: 'web-sidecar-proxy',
      Port: 21_000,
      Proxy: { DestinationServiceName: 'web', Upstreams: [{ DestinationName: 'db', LocalBindPort: 9 }] },
      ...over,
    });
    await register(consul, 'db', {});
    await consul.put('agent/service/register', proxy({ Kind: 'connect-proxy' }));
    const choice = { proxyId: 'web-sidecar-proxy' } as const;
    const least = { address, token: await tokenFor(consul, 'least', SIDECARS_LEAST) };
    await using views = new Watched<ProxyView>(consulProxySource(least, choice));
    const isDialled = ({ upstreams: [db] }: ProxyView): boolean =>
      db?.kind === 'reachable' && db.targets[0]?.backends.length === 1;
    expect((await views.until(isDialled)).warnings ?? []).toEqual([]);
    await using credentials = new Watched<Credentials>(consulCredentials(least, choice));
    await credentials.until(() => true);
    const authorizer = consulAuthorizer(least);
    const { trustDomain } = await views.until(() => true);
    const queried = caller(trustDomain, 'db');
    expect(await authorizer.authorize(queried, { destination: 'web' })).toMatchObject({ allowed: false });
    await authorizer.stop(forced);

    await consul.put('agent/service/register', proxy({}));
    await views.until((view) => view.warnings?.join().includes('needs a token with agent "read"') === true);
    const more = { address, token: await tokenFor(consul, 'more', `${SIDECARS_LEAST}${AGENT_READ}`) };
    await using others = new Watched<ProxyView>(consulProxySource(more, choice));
    const { warnings } = await others.until(isDialled);
    expect(warnings).toEqual([expect.stringContaining('is registered without kind')]);
  });

  it('a token that loses read access to nodes removes nothing, from a gateway or from a sidecar, and this is reported', async () => {
    await using consul = await Consul.start(DENY, MASTER);
    await register(consul, 'db', {});
    await consul.put('agent/service/register', {
      Name: 'web-sidecar-proxy',
      Kind: 'connect-proxy',
      Port: 21_000,
      Proxy: { DestinationServiceName: 'web', Upstreams: [{ DestinationName: 'db', LocalBindPort: 9 }] },
    });
    const options = { address: consul.address, token: await tokenFor(consul, 'shrinking', SIDECARS_LEAST) };
    await using routes = new Watched(consulSource({ ...options, datacenter: 'dc1' }));
    await using views = new Watched<ProxyView>(consulProxySource(options, { proxyId: 'web-sidecar-proxy' }));
    await routes.until((at) => shown(at, 'service:db') === '10.0.0.1:20000');
    await views.until((view) => backends(view) === 1 && view.warnings === undefined);
    const policies = (await consul.get('acl/policies')) as readonly { readonly ID: string; readonly Name: string }[];
    const id = policies.find(({ Name }) => Name === 'shrinking')?.ID ?? '';
    const rules = SIDECARS_LEAST.replace('node_prefix "" { policy = "read" }', '');
    await consul.put(`acl/policy/${id}`, { Name: 'shrinking', Rules: rules });
    // The blocking query returns at once, with an empty result.
    await register(consul, 'db', { status: 'warning' });
    const routed = await routes.until(({ warnings }) => warnings?.join().includes('cannot read nodes') === true);
    expect(shown(routed, 'service:db')).toBe('10.0.0.1:20000');
    const held = ({ warnings }: ProxyView): boolean => warnings?.join().includes('instances of 1 responses') === true;
    const view = await views.until(held);
    expect(backends(view)).toBe(1);
    expect(view.warnings?.join()).toContain('the servers do not show this proxy');
    await consul.put(`acl/policy/${id}`, { Name: 'shrinking', Rules: SIDECARS_LEAST });
    await register(consul, 'db', {});
    await views.until((next) => next.warnings === undefined && backends(next) === 1);
    const removedAt = performance.now();
    await consul.put('catalog/deregister', { Node: 'node-db-1' });
    await views.until((next) => backends(next) === 0);
    expect(performance.now() - removedAt).toBeLessThan(REMOVED_WITHIN_MS);
  }, 60_000);

  it('a sidecar that may see no service reports that the token may be the reason', async () => {
    await using consul = await Consul.start(DENY, MASTER);
    await register(consul, 'db', {});
    const source = consulProxySource({ address: consul.address }, { sidecarFor: 'db-1' });
    await using views = new Watched<ProxyView>(source);
    await views.failure('found no services (a token without service "read" sees none)');
  });

  it('a token file is read again when it has been rotated', async () => {
    await using consul = await Consul.start(DENY, MASTER);
    const first = await tokenFor(consul, 'first', LEAST);
    const second = await tokenFor(consul, 'second', LEAST);
    const tokenFile = join(mkdtempSync(join(tmpdir(), 'meshgate-token-')), 'token');
    writeFileSync(tokenFile, `${first}\n`);
    await using routes = new Watched(consulSource({ address: consul.address, tokenFile }));
    await routes.until(() => true);
    writeFileSync(tokenFile, `${second}\n`);
    const { AccessorID } = (await consul.get(`acl/tokens`).then((all) => named(all, 'first'))) ?? {};
    await consul.delete(`acl/token/${String(AccessorID)}`);
    await register(consul, 'db', {});
    await routes.until((at) => shown(at, 'service:db') === '10.0.0.1:20000');
  });
});

// One second, plus slack for a busy machine.
const REMOVED_WITHIN_MS = 3_000;

function backends({ upstreams: [db] }: ProxyView): number {
  return db?.kind === 'reachable' ? (db.targets[0]?.backends.length ?? 0) : 0;
}

async function tokenFor(consul: Consul, name: string, rules: string): Promise<string> {
  await consul.put('acl/policy', { Name: name, Rules: rules });
  const token = (await consul.put('acl/token', { Description: name, Policies: [{ Name: name }] })) as {
    SecretID: string;
  };
  return token.SecretID;
}

function named(tokens: unknown, description: string): { readonly AccessorID: string } | undefined {
  const list = tokens as readonly { readonly AccessorID: string; readonly Description: string }[];
  return list.find(({ Description }) => Description === description);
}
