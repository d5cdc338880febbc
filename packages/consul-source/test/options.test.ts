import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigProblems, staticSource } from '@meshgate/core';
import type { Route } from '@meshgate/core';
import { fakeHost } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { certificateAuthority } from '@meshgate/testkit';
import { consulPlugin, fileProblems, optionsOf, parseSettings } from '../src/index.ts';
import { durationMs } from '../src/records.ts';
import { withRouteDefaults } from '../src/route-defaults.ts';

describe('the settings of the Consul source', () => {
  it('are all reported at once when they are invalid, with the most similar key', () => {
    const config = {
      adress: 'x',
      token: 5,
      zzzzzzzz: 1,
      register: { wanAdress: 'x', exposeServers: 'yes', bindAddresses: 5 },
    };
    expect(problemsOf(() => parseSettings(config))).toEqual([
      'adress: unknown key "adress": did you mean "address"?',
      expect.stringContaining('zzzzzzzz: unknown key "zzzzzzzz": known keys are address, token'),
      'token: expected a string, found the number 5',
      'register.wanAdress: unknown key "wanAdress": did you mean "wanAddress"?',
      'register.bindAddresses: expected a mapping, found the number 5',
      'register.exposeServers: expected true or false, found "yes"',
    ]);
  });

  it('can set for all routes what Consul cannot configure', async () => {
    const { routes } = parseSettings({
      routes: {
        healthCheck: { interval: '10s' },
        onBackendRemoved: 'drain',
        onBackendDown: 'keep',
        retryBeforeFirstByte: true,
      },
    });
    expect(routes).toEqual({
      healthCheck: { kind: 'tcp', intervalMs: 10_000, timeoutMs: 2_000, rise: 2, fall: 3 },
      onBackendRemoved: { graceMs: 30_000, spreadMs: 5_000 },
      retryBeforeFirstByte: true,
    });
    const wrong = { routes: { healthCheck: { kind: 'http' }, onBackendDown: 'cut', ofKind: { all: {} } } };
    expect(problemsOf(() => parseSettings(wrong))).toHaveLength(3);
    const route: Route = { name: 'db', serverNames: ['db.internal'], backends: [] };
    const inner = staticSource('consul', [route]);
    const { signal } = new AbortController();
    const [bare, own] = await Promise.all(
      [inner, withRouteDefaults(inner, routes)].map(async (source) => {
        for await (const snapshot of source.watch(signal)) return snapshot;
        throw new Error('expected a snapshot, found none');
      }),
    );
    expect(own?.routes).toEqual([{ ...route, ...routes }]);
    expect(own?.version).not.toBe(bare?.version);
    expect(withRouteDefaults(inner, {})).toBe(inner);
  });

  it('can have different settings by kind of route, with files of addresses relative to the configuration', async () => {
    const settings = parseSettings({
      routes: {
        access: { deny: ['10.0.0.0/8'], denyFile: 'deny.txt' },
        limits: { connections: 10, idleTimeout: 'off' },
        ofKind: { 'remote-datacenter': { proxyProtocol: 'v2', access: { allowFile: '/etc/allow.txt' } } },
      },
    });
    const { routes } = optionsOf(settings, '/etc/meshgate');
    const ofAll = {
      access: { deny: ['10.0.0.0/8'], denyFile: '/etc/meshgate/deny.txt' },
      limits: { connections: 10, idleTimeoutMs: Infinity },
    };
    const ofGateways = { proxyProtocol: 'v2', access: { allowFile: '/etc/allow.txt' } };
    const [service, datacenter] = ['local-service', 'remote-datacenter'].map((kind): Route => ({
      name: kind,
      kind,
      serverNames: [`${kind}.internal`],
      backends: [],
    })) as [Route, Route];
    const source = withRouteDefaults(staticSource('consul', [service, datacenter]), routes);
    const { value } = await source.watch(new AbortController().signal)[Symbol.asyncIterator]().next();
    expect(value?.routes).toEqual([
      { ...service, ...ofAll },
      { ...datacenter, ...ofGateways },
    ]);
    const missing = await fileProblems(optionsOf(settings, tmpdir()));
    expect(missing.map(({ at }) => at?.file)).toEqual([join(tmpdir(), 'deny.txt'), '/etc/allow.txt']);
  });

  it.each([undefined, null, {}])('may be %j', (config) => {
    expect(parseSettings(config)).toEqual({});
  });

  it('name files relative to the configuration', () => {
    const folder = mkdtempSync(join(tmpdir(), 'meshgate-options-'));
    for (const file of ['ca.pem', 'token']) writeFileSync(join(folder, file), file);
    const options = optionsOf({ caFile: 'ca.pem', caPath: '.', tokenFile: 'token', address: 'https://a:8501' }, folder);
    const tls = { caFile: join(folder, 'ca.pem'), caPath: folder };
    expect(options).toEqual({ address: 'https://a:8501', tls, tokenFile: join(folder, 'token') });
  });

  it.each([
    [{ token: 'a', tokenFile: 'b' }, 'tokenFile: expected token or tokenFile, found both'],
    [{ node: 'n', register: {} }, 'node: expected register or node, found both'],
    [{ token: 'a\nb' }, 'token: expected one line of printable ASCII, found other characters'],
    [{ token: 'tökén' }, 'token: expected one line of printable ASCII, found other characters'],
    [{ certFile: 'a' }, 'certFile: expected keyFile beside certFile, found none'],
    [{ keyFile: 'a' }, 'keyFile: expected certFile beside keyFile, found none'],
  ])('that contradict each other are invalid: %j', (settings, problem) => {
    expect(problemsOf(() => parseSettings(settings))).toEqual([problem]);
  });
});

describe('unusable files', () => {
  const authority = certificateAuthority('agents');
  const [leaf, other] = [authority.issue({ commonName: 'a' }), authority.issue({ commonName: 'b' })];
  const CONTENTS = {
    'ca.pem': authority.certificate,
    'cert.pem': leaf.chain,
    'key.pem': leaf.privateKey,
    'other.pem': other.privateKey,
    passwd: 'root:x:0:0:root:/root:/bin/bash\n',
    empty: '',
    token: 'secret\n',
    lines: 'first\nsecond\n',
    'cut.pem': `${authority.certificate}${leaf.chain.slice(0, -40)}`,
    'odd.pem': `${authority.certificate}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`,
  };

  async function problemsIn(settings: object): Promise<readonly string[]> {
    const folder = mkdtempSync(join(tmpdir(), 'meshgate-options-'));
    for (const [file, text] of Object.entries(CONTENTS)) writeFileSync(join(folder, file), text);
    mkdirSync(join(folder, 'folder'));
    const problems = await fileProblems(optionsOf(settings, folder));
    return problems.map(({ path, message }) => `${path.join('.')}: ${message.replaceAll(`${folder}/`, '')}`);
  }

  it.each<readonly [settings: object, problems: readonly unknown[]]>([
    [{ caFile: 'ca.pem', certFile: 'cert.pem', keyFile: 'key.pem', tokenFile: 'token' }, []],
    [
      { caFile: 'none.pem', caPath: 'none', tokenFile: 't' },
      [
        expect.stringContaining('caFile: ENOENT'),
        expect.stringContaining('caPath: ENOENT'),
        expect.stringContaining('tokenFile: the ACL token cannot be read from t: ENOENT'),
      ],
    ],
    [
      { tokenFile: 'lines' },
      [
        'tokenFile: the ACL token cannot be read from lines: expected one line of printable ASCII, found other characters',
      ],
    ],
    [{ tokenFile: 'empty' }, ['tokenFile: the ACL token cannot be read from empty: the file is empty']],
    [
      { tokenFile: 'folder' },
      ["tokenFile: the ACL token cannot be read from folder: expected a regular file, found a folder, open 'folder'"],
    ],
    [{ caFile: 'passwd' }, ['caFile: expected a certificate in PEM in passwd, found none']],
    [{ caFile: 'folder' }, ["caFile: expected a regular file, found a folder, open 'folder'"]],
    [{ caPath: 'folder' }, ['caPath: expected certificates in PEM in folder, found none']],
    [
      { certFile: 'passwd', keyFile: 'passwd' },
      [
        'certFile: expected a certificate in PEM in passwd, found none',
        'keyFile: expected a private key in PEM in passwd, found none',
      ],
    ],
    [{ certFile: 'cert.pem', keyFile: 'cert.pem' }, ['keyFile: expected a private key in PEM in cert.pem, found none']],
    [
      { certFile: 'cert.pem', keyFile: 'other.pem' },
      ['certFile: expected the key of the certificate in cert.pem, found another in other.pem'],
    ],
    [{ caFile: 'cut.pem' }, ['caFile: cut.pem: expected the end of each of 2 certificates in PEM, found that of 1']],
    [
      { certFile: 'odd.pem', keyFile: 'key.pem' },
      [expect.stringMatching(/^certFile: odd\.pem: certificate 2 in PEM cannot be read: /)],
    ],
    [
      { trustBundles: { alpha: 'ca.pem', beta: 'odd.pem' } },
      [expect.stringMatching(/^trustBundles: odd\.pem: certificate 2 in PEM cannot be read: /)],
    ],
    [{ trustBundles: { alpha: 'none' } }, [expect.stringContaining('trustBundles: ENOENT')]],
    [
      { trustBundles: { alpha: 'passwd' } },
      ['trustBundles: trust bundle of peer alpha: expected certificates in PEM in passwd, found none'],
    ],
  ])('%j', async (settings, problems) => {
    expect(await problemsIn(settings)).toEqual(problems);
  });
});

describe('the plugin', () => {
  it('adds routes, listeners and the registration', async () => {
    const parts = await fakeHost().install(consulPlugin, { register: { address: '127.0.0.1:8443' } });
    const names = [parts.sources, parts.listenerSources, parts.services].flat().map(({ name }) => name);
    expect(names).toEqual(['consul', 'consul', 'consul-registration']);
  });

  it('rejects an invalid registration', () => {
    const { host } = fakeHost();
    const install = (): unknown => consulPlugin.install(host, { register: { address: 'nonsense' } });
    expect(problemsOf(install)).toEqual([expect.stringContaining('register.address: expected an address')]);
  });
});

it.each<readonly [text: unknown, expected: number | undefined]>([
  ['5s', 5_000],
  ['1m30s', 90_000],
  ['250ms', 250],
  ['1.5h', 5_400_000],
  [2_000_000_000, 2_000],
  ['', undefined],
  ['5', undefined],
  ['5 s', undefined],
  [undefined, undefined],
])('the duration %j is %s ms', (text, expected) => {
  expect(durationMs(text)).toBe(expected);
});

function problemsOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (reason) {
    if (reason instanceof ConfigProblems) return reason.message.split('\n');
    throw reason;
  }
  return [];
}
