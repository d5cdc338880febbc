import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatEndpoint } from '@meshgate/core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Resources, temporaryFolder } from './resources.ts';
import { describeInNetworks } from './consul.ts';
import { Datacenter } from './datacenter.ts';
import { eventually } from './eventually.ts';
import { GATEWAY_PORT } from './federation.ts';

const TEST_MS = 60_000;
const MASTER = 'b1f0c2a4-0000-4000-8000-000000000001';
const DENY = { acl: { enabled: true, default_policy: 'deny', tokens: { master: MASTER, agent: MASTER } } };

const manual = readFileSync(new URL('../../../../docs/consul.md', import.meta.url), 'utf8');
const [, LEAST_POLICY = ''] = /^## The minimal policy\n+```hcl\n(.*?)```/ms.exec(manual) ?? [];

describeInNetworks('a gateway of a Consul that denies by default', () => {
  const resources = new Resources();
  let datacenter: Datacenter;
  let name: string;

  beforeAll(async () => {
    datacenter = resources.add(await Datacenter.create(1, { settings: DENY, token: MASTER }));
    await datacenter.consul.ready();
    name = `db.default.dc1.internal.${await datacenter.consul.trustDomain()}`;
    await datacenter.instance('db', 21);
  }, TEST_MS);
  afterAll(() => resources[Symbol.asyncDispose]());

  it(
    'needs no more than the policy in the manual, from registration to deregistration',
    async () => {
      const lan = datacenter.lan(11, GATEWAY_PORT);
      const flags = [
        '--register',
        '--address',
        formatEndpoint(lan),
        '--token-file',
        await tokenFile('least', LEAST_POLICY),
      ];
      const gateway = datacenter.gateway(19_001, ...flags);
      await gateway.route('service:db');
      expect((await gateway.ready()).warnings).toEqual([]);
      await using client = await datacenter.client(lan, name);
      expect(await client.echo('allowed')).toBe('allowed');
      await client[Symbol.asyncDispose]();
      gateway.signal('SIGTERM');
      expect(await gateway.ended).toBe(0);
      expect(await datacenter.consul.get('agent/services')).not.toHaveProperty('mesh-gateway');
    },
    TEST_MS,
  );

  it(
    'with a token that cannot read nodes is not ready, reports why, and becomes ready as soon as the policy allows it',
    async () => {
      const lan = datacenter.lan(12, GATEWAY_PORT);
      const blind = LEAST_POLICY.replace(/^node_prefix.*$/m, '');
      const flags = ['--register', '--address', formatEndpoint(lan), '--token-file', await tokenFile('blind', blind)];
      const gateway = datacenter.gateway(19_002, ...flags);
      const { ready, reasons } = await gateway.ready((now) =>
        now.reasons.join().includes('the token cannot read nodes'),
      );
      expect(ready).toBe(false);
      expect(reasons).toContainEqual(expect.stringContaining('source consul: no snapshot yet: '));
      const complaint = expect.stringContaining('the token cannot read nodes');
      expect(gateway.lines).toContainEqual(expect.objectContaining({ level: 'warn', msg: complaint }));
      const { ID } = (await datacenter.consul.get('acl/policy/name/blind')) as { readonly ID: string };
      await datacenter.consul.put(`acl/policy/${ID}`, { Name: 'blind', Rules: LEAST_POLICY });
      await gateway.ready();
      await gateway.route('service:db');
    },
    TEST_MS,
  );

  async function tokenFile(policy: string, rules: string): Promise<string> {
    await datacenter.consul.put('acl/policy', { Name: policy, Rules: rules });
    const { SecretID } = (await datacenter.consul.put('acl/token', { Policies: [{ Name: policy }] })) as Token;
    const file = join(resources.add(temporaryFolder()).path, 'token');
    writeFileSync(file, `${SecretID}\n`);
    return file;
  }
});

interface Token {
  readonly SecretID: string;
}

describeInNetworks('a gateway', () => {
  const resources = new Resources();
  let datacenter: Datacenter;
  let name: string;

  beforeAll(async () => {
    datacenter = resources.add(await Datacenter.create(1, { settings: {} }));
    await datacenter.consul.ready();
    name = `db.default.dc1.internal.${await datacenter.consul.trustDomain()}`;
    await datacenter.instance('db', 21);
  }, TEST_MS);
  afterAll(() => resources[Symbol.asyncDispose]());

  it(
    'that is stopped first enters maintenance in Consul, then stops accepting, lets connections finish, and deregisters',
    async () => {
      const file = join(resources.add(temporaryFolder()).path, 'meshgate.yaml');
      writeFileSync(file, 'drain: { delay: 1s, grace: 20s }\n');
      const lan = datacenter.lan(11, GATEWAY_PORT);
      const gateway = datacenter.gateway(19_001, '--config', file, '--register', '--address', formatEndpoint(lan));
      await gateway.route('service:db');
      await using early = await datacenter.client(lan, name);
      expect(await early.echo('early')).toBe('early');

      gateway.signal('SIGTERM');
      const checks = (): Promise<unknown> => datacenter.consul.get('agent/checks');
      await eventually(
        'a gateway in maintenance',
        async () => (OWN_MAINTENANCE in Object(await checks()) ? true : undefined),
        TEST_MS,
      );
      await using meanwhile = await datacenter.client(lan, name);
      expect(await meanwhile.echo('meanwhile')).toBe('meanwhile');
      expect(await gateway.ready(({ ready }) => !ready)).toMatchObject({ reasons: ['draining: announcing'] });

      await eventually(
        'a port that is closed',
        async () => ((await datacenter.inside.probe(lan)) === 'ECONNREFUSED' ? true : undefined),
        TEST_MS,
      );
      expect(await datacenter.consul.get('agent/services')).toHaveProperty('mesh-gateway');
      expect(await early.echo('finishing')).toBe('finishing');
      await early[Symbol.asyncDispose]();
      await meanwhile[Symbol.asyncDispose]();
      expect(await gateway.ended).toBe(0);
      expect(await datacenter.consul.get('agent/services')).not.toHaveProperty('mesh-gateway');
    },
    TEST_MS,
  );

  it(
    'that is registered elsewhere listens on the addresses of that registration, and follows it; connections continue',
    async () => {
      const first = datacenter.lan(12, GATEWAY_PORT);
      const second = datacenter.lan(12, 9443);
      await datacenter.consul.put('agent/service/register', registration({}));
      const gateway = datacenter.gateway(19_002, '--http-addr', '127.0.0.1:8500');
      await gateway.route('service:db');
      await using client = await eventually('a way through', () => datacenter.client(first, name), TEST_MS);
      const other = { envoy_gateway_no_default_bind: true, envoy_gateway_bind_addresses: { other: addressOf(second) } };
      await datacenter.consul.put('agent/service/register', registration({ Proxy: { Config: other } }));
      await using moved = await eventually('the other way through', () => datacenter.client(second, name), TEST_MS);
      expect(await moved.echo('moved')).toBe('moved');
      await eventually(
        'a port that is closed',
        async () => ((await datacenter.inside.probe(first)) === 'ECONNREFUSED' ? true : undefined),
        TEST_MS,
      );
      expect(await client.echo('still here')).toBe('still here');
    },
    TEST_MS,
  );

  it(
    'listens on the configured bind addresses only',
    async () => {
      const [one, other] = [datacenter.lan(22, 9443), datacenter.lan(23, 9443)];
      const registered = formatEndpoint(datacenter.lan(11, GATEWAY_PORT));
      const binds = [`one=${formatEndpoint(one)}`, `other=${formatEndpoint(other)}`];
      const flags = [
        '-register',
        '-proxy-id=bound',
        `-address=${registered}`,
        ...binds.map((bind) => `-bind-address=${bind}`),
      ];
      const gateway = datacenter.gateway(19_003, ...flags);
      await gateway.route('service:db');
      await gateway.ready();
      for (const at of [one, other]) {
        await using client = await datacenter.client(at, name);
        expect(await client.echo('bound')).toBe('bound');
      }
      expect(await datacenter.inside.probe(datacenter.lan(11, GATEWAY_PORT))).toBe('ECONNREFUSED');
    },
    TEST_MS,
  );
});

const OWN_MAINTENANCE = '_service_maintenance:mesh-gateway';

/** A mesh gateway that an operator registers by hand. */
function registration(more: object): object {
  return { Name: 'by-hand', Kind: 'mesh-gateway', Address: '10.1.0.12', Port: GATEWAY_PORT, ...more };
}

function addressOf({ host, port }: { readonly host: string; readonly port: number }): object {
  return { Address: host, Port: port };
}
