import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatEndpoint, unixPath } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { certificateAuthority, tlsBackend } from '@meshgate/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Finding } from '../../src/live-check/finding.ts';
import { pageText } from '../page.ts';
import { Resources, temporaryFolder } from './resources.ts';
import { describeInNetworks } from './consul.ts';
import { Datacenter, SIDECAR_PORT } from './datacenter.ts';
import { eventually } from './eventually.ts';
import { Federation, GATEWAY_PORT, wanAddress } from './federation.ts';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const SET_UP_MS = 120_000;
const TEST_MS = 60_000;
// Consul's checks run every second, and the gateway is notified at once.
const KNOWN_MS = 15_000;
/** A check that an inexperienced user might write. */
const WELL = { Name: 'well', TTL: '1h', Status: 'passing' };
/** A port without a listener, unless a test starts one. */
const ODD_PORT = 20_001;
const MASTER = 'b1f0c2a4-0000-4000-8000-000000000002';
const DENY = { acl: { enabled: true, default_policy: 'deny', tokens: { master: MASTER, agent: MASTER } } };

interface Consultation {
  readonly datacenter: Datacenter;
  readonly source?: object;
  readonly serverName?: string;
  readonly nodeOptions?: readonly string[];
}

/** A server that calls `respond` with the socket of each client. */
async function serverAt(at: Endpoint, respond: (socket: Socket) => unknown): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    respond(socket);
  }).listen(unixPath(at));
  await once(server, 'listening');
  return {
    [Symbol.asyncDispose]: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      return Promise.resolve();
    },
  };
}

const resources = new Resources();
afterAll(() => resources[Symbol.asyncDispose]());

/** The doctor's findings on the machine of a datacenter's first gateway. */
async function findings({ datacenter, source = {}, serverName, nodeOptions = [] }: Consultation) {
  const folder = resources.add(temporaryFolder()).path;
  const file = join(folder, 'meshgate.yaml');
  writeFileSync(file, JSON.stringify({ sources: [{ use: 'consul', ...source }], admin: { port: 19_001 } }));
  const name = serverName === undefined ? [] : [serverName];
  const args = ['doctor', ...name, '--config', file, '--admin', 'http://127.0.0.1:19001', '--json'];
  const child = datacenter.namespace.spawn(
    [process.execPath, ...nodeOptions, MAIN, ...args],
    ['ignore', 'pipe', 'inherit'],
  );
  let logged = '';
  child.stdout?.on('data', (chunk: Buffer) => (logged += chunk.toString()));
  await once(child, 'close');
  return (JSON.parse(logged) as { readonly findings: readonly Finding[] }).findings;
}

/** Waits until this is the first line that fails: an injected fault takes some time to be visible. */
function firstFailure(of: Consultation, expected: RegExp): Promise<string> {
  return eventually(
    `a first failure that says ${expected.source}`,
    async () => {
      const first = (await findings(of)).find(({ outcome }) => outcome === 'failed');
      const line = `${first?.check}: ${first?.found}; ${first?.advice}`;
      if (expected.test(line)) return line;
      throw new Error(line);
    },
    KNOWN_MS,
  );
}

describeInNetworks('meshgate doctor in a federation of two datacenters names', () => {
  let federation: Federation;
  let datacenter: Datacenter;
  const nameOf = (service: string, member = federation.one): string => federation.nameOf(service, member);

  beforeAll(async () => {
    federation = resources.add(await Federation.create(1));
    ({ datacenter } = federation.one);
    for (const member of [federation.one, federation.two])
      await eventually('an instance of db', () => member.datacenter.instance('db', 21), TEST_MS);
    await federation.one.gateways[0].route('service:db', ({ backends }) => backends.some(({ healthy }) => healthy));
  }, SET_UP_MS);

  const claim = (cause: string, test: () => Promise<unknown>): void => {
    it(cause, async () => void (await test()), TEST_MS);
  };

  claim('nothing in a working federation', async () => {
    for (const serverName of [undefined, nameOf('db'), nameOf('db', federation.two)]) {
      const all = await findings({ datacenter, ...(serverName !== undefined && { serverName }) });
      expect(all.filter(({ outcome }) => outcome !== 'ok')).toEqual([]);
    }
  });

  claim('the clock of the machine', () => {
    const ahead = `const Real = Date;
      globalThis.Date = class extends Real {
        constructor(...values) { super(...(values.length > 0 ? values : [Real.now() + 600_000])); }
      };`;
    const nodeOptions = ['--import', `data:text/javascript,${encodeURIComponent(ahead)}`];
    return firstFailure(
      { datacenter, nodeOptions },
      /^clock: \d+ s ahead of the agent's; synchronize both clocks with NTP/,
    );
  });

  claim('an intention that denies', async () => {
    const intention = { SourceName: '*', DestinationName: 'db', SourceType: 'consul', Action: 'deny' };
    const { ID } = (await datacenter.consul.post('connect/intentions', intention)) as { readonly ID: string };
    const line = /^intentions to db: deny \*; all sources are denied/;
    await firstFailure({ datacenter, serverName: nameOf('db') }, line);
    await datacenter.consul.put(`connect/intentions/${ID}`, { ...intention, Action: 'allow' });
  });

  claim('an application that is down behind its sidecar', async () => {
    const at = datacenter.lan(22, SIDECAR_PORT);
    resources.add(await datacenter.serve('sick', at));
    const check = { Name: 'application', TCP: '127.0.0.1:9', Interval: '1s', Status: 'passing' };
    const sidecar = { Address: at.host, Port: at.port, Checks: [check] };
    await datacenter.consul.put('agent/service/register', {
      Name: 'sick',
      Port: 9,
      Connect: { SidecarService: sidecar },
    });
    const line =
      /^name sick.*: no backend is healthy: application critical \(dial tcp 127\.0\.0\.1:9.*connection refused\)/;
    await firstFailure({ datacenter, serverName: nameOf('sick') }, line);
    await datacenter.consul.put('agent/service/deregister/sick');
  });

  claim('a certificate that has expired', async () => {
    const at = datacenter.lan(23, SIDECAR_PORT);
    const past = { notBefore: new Date('2020-01-01T00:00:00Z'), notAfter: new Date('2020-01-02T00:00:00Z') };
    const identity = certificateAuthority('old').issue({ dnsNames: ['old'], ...past });
    resources.add(await tlsBackend('old', { at: await datacenter.inside.from(at), identity }));
    const sidecar = { Address: at.host, Port: at.port, Checks: [WELL] };
    await datacenter.consul.put('agent/service/register', {
      Name: 'old',
      Port: 1,
      Connect: { SidecarService: sidecar },
    });
    await firstFailure({ datacenter, serverName: nameOf('old') }, /whose certificate expired on 2020-01-02.*renew/);
    await datacenter.consul.put('agent/service/deregister/old');
  });

  claim('a name that does not resolve', async () => {
    const sidecar = { Address: 'db.nowhere.invalid', Port: 1, Checks: [WELL] };
    await datacenter.consul.put('agent/service/register', {
      Name: 'lost',
      Port: 1,
      Connect: { SidecarService: sidecar },
    });
    const line =
      /^route service:lost: backend db\.nowhere\.invalid:1 .*: the name (?:does not exist|servers do not respond)/;
    await firstFailure({ datacenter, serverName: nameOf('lost') }, line);
    await datacenter.consul.put('agent/service/deregister/lost');
  });

  const claimAt = (cause: string, last: number, expected: RegExp, response?: (socket: Socket) => unknown): void =>
    claim(cause, async () => {
      const at = datacenter.lan(last, ODD_PORT);
      if (response !== undefined) resources.add(await serverAt(await datacenter.inside.from(at), response));
      const sidecar = { Address: at.host, Port: at.port, Checks: [WELL] };
      await datacenter.consul.put('agent/service/register', {
        Name: 'odd',
        Port: 1,
        Connect: { SidecarService: sidecar },
      });
      await firstFailure({ datacenter, serverName: nameOf('odd') }, expected);
      await datacenter.consul.put('agent/service/deregister/odd');
    });
  claimAt('a sidecar that is down, although no check has noticed', 21, /^route service:odd: .*: nothing listens there/);
  claimAt(
    'a sidecar that hangs',
    22,
    /^route service:odd: .*: accepts, and does not respond within 2 s/,
    () => undefined,
  );
  claimAt('an address with another service than a sidecar', 23, /^route service:odd: .*other than TLS/, (one) =>
    one.write('220 mail ready\r\n'),
  );

  claim('a misspelled name', () =>
    firstFailure(
      { datacenter, serverName: nameOf('bd') },
      /^name bd\..*: no route matches .*; similar names: .*\bdb\./,
    ),
  );

  claim('a service without a sidecar', async () => {
    await datacenter.consul.put('agent/service/register', { Name: 'bare', Port: 1 });
    await firstFailure(
      { datacenter, serverName: nameOf('bare') },
      /^name bare\..*: (?:no route|its route has no backend)/,
    );
    await datacenter.consul.put('agent/service/deregister/bare');
  });

  claim('another process on the port', () => {
    const register = { address: formatEndpoint(datacenter.lan(21, SIDECAR_PORT)), id: 'another' };
    return firstFailure({ datacenter, source: { register } }, /^listener .*: cannot be bound: EADDRINUSE/);
  });

  claim('an address that is not assigned to the machine', () => {
    const register = { address: '192.0.2.1:8443', id: 'another' };
    return firstFailure({ datacenter, source: { register } }, /^configuration .*: expected an address of this host/);
  });

  claim('a firewall that drops packets to another datacenter', async () => {
    const { namespace } = datacenter;
    const far = wanAddress(2, 0);
    await namespace.ip('neighbour', 'replace', far, 'lladdr', '02:00:00:00:00:01', 'nud', 'permanent', 'dev', 'wan');
    await firstFailure({ datacenter }, /^route datacenter:dc2.*: no response within 2 s; check firewalls/);
    await namespace.ip('neighbour', 'delete', far, 'dev', 'wan');
  });

  claim('large packets that are lost on the way to another datacenter', async () => {
    const { namespace } = federation.two.datacenter;
    const far = wanAddress(2, 0);
    // The remote side advertises a normal MSS, and does not receive such packets.
    await namespace.ip('route', 'replace', '198.18.0.0/24', 'dev', 'wan', 'src', far, 'advmss', '1460');
    await namespace.ip('link', 'set', 'wan', 'mtu', '900');
    // Otherwise the kernel passes on several packets as one.
    await datacenter.namespace.ip('link', 'set', 'wan', 'gso_max_segs', '1');
    const line =
      /^route datacenter:dc2.*: responds to a small ClientHello, but not to one of several packets; large packets are lost/;
    await firstFailure({ datacenter }, line);
    await namespace.ip('link', 'set', 'wan', 'mtu', '1500');
  });

  claim('an unreachable datacenter', async () => {
    await datacenter.namespace.ip('link', 'set', 'wan', 'down');
    await firstFailure({ datacenter }, /^route datacenter:dc2.*: (?:no route to host|network unreachable)/);
    await datacenter.namespace.ip('link', 'set', 'wan', 'up');
    for (const index of [0, 1])
      await datacenter.namespace.ip('address', 'replace', `${wanAddress(1, index)}/24`, 'dev', 'wan');
  });

  claim('a gateway of another datacenter that is down', async () => {
    await federation.two.gateways[0].kill();
    await firstFailure(
      { datacenter, serverName: nameOf('db', federation.two) },
      /(?:nothing listens there|no backend is healthy)/,
    );
  });
});

describeInNetworks('meshgate doctor where ACLs deny by default names', () => {
  let datacenter: Datacenter;
  const [, policy = ''] = /^## The minimal policy\n+```hcl\n(.*?)```/ms.exec(pageText('docs/consul.md')) ?? [];
  const rules = policy.split('\n').filter((line) => / \{ policy = /.test(line));
  if (rules.length === 0) throw new Error('expected the rules of a policy in docs/consul.md, found none');

  beforeAll(async () => {
    datacenter = resources.add(await Datacenter.create(1, { settings: DENY, token: MASTER }));
    await datacenter.consul.ready();
  }, SET_UP_MS);

  it.each(rules.map((rule) => [rule.trim()] as const))(
    'the missing rule: %s',
    async (rule) => {
      const name = `without-${rules.findIndex((one) => one.includes(rule))}`;
      const Rules = rules.filter((one) => one.trim() !== rule).join('\n');
      await datacenter.consul.put('acl/policy', { Name: name, Rules });
      const token = (await datacenter.consul.put('acl/token', { Policies: [{ Name: name }] })) as {
        readonly SecretID: string;
      };
      const register = { address: formatEndpoint(datacenter.lan(11, GATEWAY_PORT)) };
      const all = await findings({ datacenter, source: { token: token.SecretID, register } });
      const denied = all.filter(({ check, outcome }) => check === 'ACL token' && outcome === 'failed');
      expect(denied.map(({ found }) => found.replace('may not ', ''))).toEqual([rule]);
      expect(all.find(({ outcome }) => outcome === 'failed')).toEqual(denied[0]);
    },
    TEST_MS,
  );

  it(
    'an unknown token, then an agent that is down',
    async () => {
      const token = '00000000-0000-4000-8000-00000000dead';
      await firstFailure(
        { datacenter, source: { token } },
        /^ACL token: .*ACL not found; the agent does not know the token/,
      );
      await datacenter.consul.kill();
      await firstFailure({ datacenter, source: { token } }, /^Consul agent at .*ECONNREFUSED.*; start the agent/);
    },
    TEST_MS,
  );
});
