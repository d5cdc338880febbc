import { tlsBackend, tlsClient } from '@meshgate/testkit';
import type { IssuedCertificate } from '@meshgate/testkit';
import { expect, it } from 'vitest';
import { eventually } from './federation/eventually.ts';
import { folder, TEST_CONFIG } from './daemon.ts';
import type { ReadyDaemon } from './daemon.ts';
import { describeWithConsul, freePorts, startConsul } from './sidecar/agent.ts';
import type { ConsulAgent } from './sidecar/agent.ts';
import { query, inTime, steadyLoad, until, upgradable, upgraded } from './upgradable.ts';

/** Repetitions of each test; `MESHGATE_UPGRADES=50` for a long run. */
const ROUNDS = Number(process.env['MESHGATE_UPGRADES'] ?? 1);
const TIMEOUT_MS = 60_000 + ROUNDS * 20_000;

/** Consul runs the first check within the interval, the second an interval later. */
const CHECKED_MS = 45_000;

interface Entry {
  readonly Service: { readonly ID: string; readonly Meta?: Readonly<Record<string, string>> };
  readonly Checks: readonly { readonly CheckID: string; readonly Status: string }[];
}

/** Every state of a service in the catalog, by blocking queries: no lasting state is missed. */
function watched(consul: ConsulAgent, service: string) {
  const over = new AbortController();
  const seen: string[] = [];
  let latest: readonly Entry[] = [];
  const watch = async (): Promise<void> => {
    for (let index = '0'; !over.signal.aborted;) {
      const url = `${consul.address}/v1/health/service/${service}?index=${index}&wait=10s`;
      const response = await fetch(url, { signal: over.signal }).catch(() => undefined);
      if (response === undefined) return;
      index = response.headers.get('x-consul-index') ?? '0';
      latest = (await response.json()) as readonly Entry[];
      seen.push(latest.map(stateOf).join('; ') || 'absent');
    }
  };
  const done = watch();
  return {
    seen,
    async until(state: RegExp, gateway: ReadyDaemon): Promise<void> {
      const what = `the catalog to say ${state.source}`;
      await until(() => state.test(seen.at(-1) ?? ''), what, gateway, CHECKED_MS).catch((reason: unknown) => {
        throw new Error(`${String(reason)}; the catalog: ${seen.join(' | ')}`, { cause: reason });
      });
    },
    /** Distinguishes one process that has registered it from another. */
    get registeredBy(): string {
      return JSON.stringify(latest[0]?.Service.Meta ?? {});
    },
    async [Symbol.asyncDispose]() {
      over.abort();
      await done;
    },
  };
}

function stateOf({ Service, Checks }: Entry): string {
  const own = Checks.filter(({ CheckID }) => CheckID !== 'serfHealth');
  return `${Service.ID}: ${own.map(({ CheckID, Status }) => `${CheckID} ${Status}`).join(', ')}`;
}

/** Its CA may be ready a moment after its leader. */
function identityOf(consul: ConsulAgent, service: string): Promise<IssuedCertificate> {
  return eventually(
    'a certificate',
    async () => {
      const { CertPEM, PrivateKeyPEM } = (await consul.send('GET', `agent/connect/ca/leaf/${service}`)) as Leaf;
      return { certificate: CertPEM, chain: CertPEM, privateKey: PrivateKeyPEM };
    },
    LEAF_MS,
  );
}

interface Leaf {
  readonly CertPEM: string;
  readonly PrivateKeyPEM: string;
}

const LEAF_MS = 10_000;

/** A service of the mesh, and a gateway that routes to it. */
async function scene(consul: ConsulAgent, settings: object) {
  const [port = 0, admin = 0] = await freePorts(2);
  const { TrustDomain } = (await consul.send('GET', 'agent/connect/ca/roots')) as { readonly TrustDomain: string };
  const backend = await tlsBackend('db', { identity: await identityOf(consul, 'db') });
  await consul.send('PUT', 'agent/service/register', {
    Name: 'db',
    Port: 1,
    Connect: { SidecarService: { Address: '127.0.0.1', Port: backend.address.port, Checks: [] } },
  });
  const register = { address: `127.0.0.1:${port}`, id: 'edge-1' };
  const config = {
    ...TEST_CONFIG,
    listeners: [],
    sources: [{ use: 'consul', address: consul.address, register }],
    admin: { port: admin },
    stateDir: './state',
    drain: { grace: '10m', spread: '100ms' },
    ...settings,
  };
  const files = await folder({ 'meshgate.yaml': config });
  const name = `db.default.dc1.internal.${TrustDomain}`;
  const web = await identityOf(consul, 'web');
  return {
    files,
    connect: () => tlsClient({ host: '127.0.0.1', port }, name, { identity: web }),
    async [Symbol.asyncDispose]() {
      await files[Symbol.asyncDispose]();
      await backend[Symbol.asyncDispose]();
    },
  };
}

for (const workers of [1, 2]) {
  describeWithConsul(
    `an upgrade of a gateway registered in Consul, with ${workers === 1 ? 'one process' : 'two workers'}`,
    () => {
      it(
        'drops no connection, new or live, and the registration is never missing, critical or in maintenance',
        async () => {
          await using consul = await startConsul();
          await using location = await scene(consul, { workers });
          await using gateway = await upgradable(`${location.files.path}/meshgate.yaml`);
          await using catalog = watched(consul, 'mesh-gateway');
          await catalog.until(/^edge-1: service:edge-1 passing$/, gateway);
          const [from, first] = [catalog.seen.length - 1, catalog.registeredBy];
          await using live = await location.connect();
          const traffic = steadyLoad(location.connect);
          let pid = gateway.pid;
          for (let round = 0; round < ROUNDS; round += 1) {
            const before = catalog.registeredBy;
            pid = await upgraded(gateway);
            await until(() => catalog.registeredBy !== before, 'the successor to be registered', gateway);
            expect(await query(gateway).change('POST', '/reload')).toEqual({ changes: [] });
            await using newcomer = await location.connect();
            expect(await newcomer.echo('hello')).toBe('hello');
          }
          const { served, failed } = await inTime(traffic.end(), 'the load to end', gateway);
          expect(failed).toEqual([]);
          expect(served).toBeGreaterThan(ROUNDS);
          expect(catalog.registeredBy).not.toBe(first);
          expect(await live.echo('not cut')).toBe('not cut');
          live.end();
          expect(await inTime(gateway.exited, 'the first process to exit', gateway)).toBe(0);
          expect(await query(gateway).get('/ready')).toMatchObject({ ready: true, warnings: [] });
          expect(new Set(catalog.seen.slice(from))).toEqual(new Set(['edge-1: service:edge-1 passing']));
          expect(gateway.lines.filter(({ msg }) => String(msg).startsWith('source warning'))).toEqual([]);
          process.kill(pid, 'SIGTERM');
          await catalog.until(/^absent$/, gateway);
          expect(catalog.seen.slice(from).join()).toContain('_service_maintenance');
          await inTime(gateway.ended, 'all processes to exit', gateway);
        },
        TIMEOUT_MS,
      );
    },
  );
}

describeWithConsul('an upgrade while the agent is unavailable', () => {
  it(
    'continues with the routes stored in stateDir',
    async () => {
      await using consul = await startConsul();
      await using location = await scene(consul, {});
      await using gateway = await upgradable(`${location.files.path}/meshgate.yaml`);
      await using live = await location.connect();
      expect(await live.echo('before')).toBe('before');
      await consul.kill();
      const pid = await upgraded(gateway);
      await using newcomer = await location.connect();
      expect(await newcomer.echo('hello')).toBe('hello');
      await consul.restart();
      await using catalog = watched(consul, 'mesh-gateway');
      await catalog.until(/^edge-1: service:edge-1/, gateway);
      for (const client of [live, newcomer]) await client[Symbol.asyncDispose]();
      process.kill(pid, 'SIGTERM');
      await catalog.until(/^absent$/, gateway);
      await inTime(gateway.ended, 'all processes to exit', gateway);
    },
    TIMEOUT_MS,
  );
});
