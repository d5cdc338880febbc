import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { amending } from '../src/config/amend-config.ts';
import { commandSettings, withTwoDashes } from '../src/cli/consul-flags.ts';
import type { ConsulFlags, Environment } from '../src/cli/consul-flags.ts';
import { folder, meshgate, readyDaemon, TEST_CONFIG } from './daemon.ts';

const CWD = '/run';

/** The parsed settings of `use: consul`, and their problems. */
function amended(
  flags: ConsulFlags,
  env: Environment = {},
  file: object = {},
): { readonly settings: unknown; readonly problems: readonly string[] } {
  const amend = amending(commandSettings(flags, env, CWD), true);
  const { value, problems } = amend({ sources: [{ use: 'consul', ...file }] });
  const [{ use: _use, ...settings }] = (value as { sources: [{ use: string }] }).sources;
  return { settings, problems: problems.map(({ path, message }) => `${path.join('.')}: ${message}`) };
}

describe('a flag, a variable and a key of the file', () => {
  it.each<readonly [flags: ConsulFlags, env: Environment, file: object, settings: object]>([
    [{}, {}, {}, {}],
    [{ httpAddr: 'h:1' }, {}, {}, { address: 'h:1' }],
    [{}, { CONSUL_HTTP_AUTH: 'u:p' }, {}, { httpAuth: 'u:p' }],
    [{}, { CONSUL_HTTP_ADDR: 'h:2' }, {}, { address: 'h:2' }],
    [{}, { CONSUL_HTTP_ADDR: '' }, { address: 'h:3' }, { address: 'h:3' }],
    [{ httpAddr: 'h:1' }, { CONSUL_HTTP_ADDR: 'h:2' }, { address: 'h:3' }, { address: 'h:1' }],
    [{}, { CONSUL_HTTP_ADDR: 'h:2' }, { address: 'h:3' }, { address: 'h:2' }],

    [{}, { CONSUL_HTTP_SSL: 'true' }, {}, { address: 'https://127.0.0.1:8500' }],
    [{}, { CONSUL_HTTP_SSL: '1', CONSUL_HTTP_ADDR: 'h:2' }, {}, { address: 'https://h:2' }],
    [{}, { CONSUL_HTTP_SSL: 'T' }, { address: 'http://h:3' }, { address: 'https://h:3' }],
    [{ httpAddr: 'unix:///c.sock' }, { CONSUL_HTTP_SSL: 'true' }, {}, { address: 'unix:///c.sock' }],
    [{ httpAddr: 'h:1' }, { CONSUL_HTTP_SSL: 'false', CONSUL_HTTP_SSL_VERIFY: 'true' }, {}, { address: 'h:1' }],

    [{ token: 'a' }, { CONSUL_HTTP_TOKEN: 'b' }, { token: 'c' }, { token: 'a' }],
    [{ token: 'a' }, { CONSUL_HTTP_TOKEN_FILE: 'b' }, { tokenFile: 'c' }, { token: 'a' }],
    [{ token: 'a', tokenFile: 'f' }, {}, {}, { tokenFile: '/run/f' }],
    [{}, { CONSUL_HTTP_TOKEN: 'b', CONSUL_HTTP_TOKEN_FILE: '/f' }, { token: 'c' }, { tokenFile: '/f' }],
    [{}, { CONSUL_HTTP_TOKEN: 'b' }, { tokenFile: 'c' }, { token: 'b' }],

    [
      { caFile: 'ca.pem', caPath: 'ca', clientCert: 'c.pem', clientKey: '/k.pem' },
      {},
      {},
      { caFile: '/run/ca.pem', caPath: '/run/ca', certFile: '/run/c.pem', keyFile: '/k.pem' },
    ],
    [
      {},
      {
        CONSUL_CACERT: 'ca.pem',
        CONSUL_CAPATH: 'ca',
        CONSUL_CLIENT_CERT: 'c.pem',
        CONSUL_CLIENT_KEY: 'k.pem',
        CONSUL_TLS_SERVER_NAME: 'name',
        CONSUL_NAMESPACE: 'ns',
        CONSUL_PARTITION: 'ap',
      },
      { caFile: 'of-the-file.pem' },
      {
        caFile: '/run/ca.pem',
        caPath: '/run/ca',
        certFile: '/run/c.pem',
        keyFile: '/run/k.pem',
        tlsServerName: 'name',
        namespace: 'ns',
        partition: 'ap',
      },
    ],

    [{ register: true }, {}, {}, { register: {} }],
    [
      {
        register: true,
        service: 'edge',
        proxyId: 'edge-1',
        address: '10.0.0.5:8443',
        wanAddress: '203.0.113.5:443',
        bindAddress: ['lan=10.0.0.5:8443', 'wan=[2001:db8::1]:443'],
        exposeServers: true,
        deregisterAfterCritical: '1h',
      },
      {},
      {},
      {
        register: {
          service: 'edge',
          id: 'edge-1',
          address: '10.0.0.5:8443',
          wanAddress: '203.0.113.5:443',
          bindAddresses: { lan: '10.0.0.5:8443', wan: '[2001:db8::1]:443' },
          exposeServers: true,
          deregisterAfterCritical: '1h',
        },
      },
    ],
    [{ proxyId: 'edge-1' }, {}, { proxyId: 'other' }, { proxyId: 'edge-1' }],
    [{ nodeName: 'k8s-virtual' }, {}, {}, { node: 'k8s-virtual' }],
    [
      { address: 'of-the-flag:1' },
      {},
      { register: { address: 'of-the-file:1', service: 'edge' } },
      { register: { address: 'of-the-flag:1', service: 'edge' } },
    ],
  ])('%j, %j and %j result in %j', (flags, env, file, settings) => {
    expect(amended(flags, env, file)).toEqual({ settings, problems: [] });
  });

  it('that are invalid are all reported, each under its own name', () => {
    const flags = {
      httpAddr: 'ftp://x',
      bindAddress: ['a', 'b=1.2.3.4:1', 'b=1.2.3.4:2'],
      adminBind: 'x',
      service: 's',
    };
    const env = { CONSUL_HTTP_SSL: 'perhaps', CONSUL_HTTP_SSL_VERIFY: 'false' };
    expect(amended(flags, env).problems).toEqual([
      '--http-addr: expected http://127.0.0.1:8500, https://HOST:PORT or unix:///PATH, found "ftp://x"',
      '--bind-address: expected NAME=IP:PORT such as wan=203.0.113.5:443, found "a"',
      '--bind-address: expected another name than b again, found "b=1.2.3.4:2"',
      '--admin-bind: expected IP:PORT such as 127.0.0.1:19000, or unix:/path, found "x"',
      'CONSUL_HTTP_SSL: expected true or false, found "perhaps"',
      expect.stringMatching(/^CONSUL_HTTP_SSL_VERIFY: expected true: .* found "false"$/),
      '--service: expected --register with it',
      '--bind-address: expected --register with it',
    ]);
  });
});

describe('a configuration file', () => {
  const CONFIG = { sources: [{ use: 'file', path: 'routes.yaml' }] };

  it('without Consul gets a Consul source after its own when a flag requires one', () => {
    const { value } = amending(commandSettings({ register: true }, {}, CWD), true)(CONFIG);
    expect(value).toEqual({ sources: [CONFIG.sources[0], { use: 'consul', register: {} }] });
  });

  it('without Consul is not affected by the environment', () => {
    const settings = commandSettings({}, { CONSUL_HTTP_ADDR: 'h:1', CONSUL_HTTP_TOKEN: 'b' }, CWD);
    expect(amending(settings, settings.byFlag)(CONFIG).value).toEqual(CONFIG);
  });

  it.each(['127.0.0.1:19001', 'localhost:19001'])(
    'has the address of its admin server overridden by %s',
    (adminBind) => {
      const settings = commandSettings({ adminBind }, {}, CWD);
      const { value } = amending(settings, settings.byFlag)({ ...CONFIG, admin: false });
      expect(value).toEqual({ ...CONFIG, admin: { address: '127.0.0.1', port: 19_001 } });
    },
  );

  it.each([{ sources: 'none' }, { sources: [{ use: 'consul', register: true }] }, 'text', null])(
    'keeps its problem: %j',
    (config) => {
      expect(amending(commandSettings({ register: true }, {}, CWD), true)(config).value).toEqual(config);
    },
  );
});

describe("Consul's own flag syntax", () => {
  it.each([
    ['-http-addr=h:1', ['--http-addr=h:1']],
    ['--http-addr=a=b', ['--http-addr=a=b']],
    ['-register', ['--register']],
    ['-register=true', ['--register']],
    ['-expose-servers=false', []],
    ['-expose-servers=maybe', ['--expose-servers=maybe']],
    ['-c', ['-c']],
    ['-address', ['--address']],
    ['-unheard-of=1', ['-unheard-of=1']],
    ['gateway', ['gateway']],
  ])('%s is parsed as %j', (arg, read) => {
    expect(withTwoDashes([arg])).toEqual(read);
  });
});

describe('meshgate gateway', () => {
  it('with flags alone is a complete gateway', async () => {
    await using empty = await folder();
    expect(await meshgate(['gateway', '-register', '--address', '127.0.0.1:8443', '--check'], empty.path)).toEqual({
      status: 0,
      stdout: 'command line: OK (sources: consul)\n',
      stderr: '',
    });
  });

  it('reports each mistake under its flag, whichever part detects it, with status 2', async () => {
    await using files = await folder({
      'meshgate.yaml': 'listener: []\nsources: [ { use: consul, register: {} } ]\n',
    });
    const args = ['--address', '192.0.2.1:8443', '--wan-address', 'x', '--admin-bind', 'y'];
    const { status, stderr } = await meshgate(['gateway', ...args, '--check'], files.path);
    expect({ status, lines: stderr.trimEnd().split('\n').toSorted() }).toEqual({
      status: 2,
      lines: [
        '--address: expected an address of this host, or explicit bind addresses, found 192.0.2.1',
        '--admin-bind: expected IP:PORT such as 127.0.0.1:19000, or unix:/path, found "y"',
        '--wan-address: expected an address such as 10.0.0.5:8443, found "x"',
        'meshgate.yaml:1:1: unknown key "listener": did you mean "listeners"?',
      ],
    });
  });

  it('reports that a file in the current folder is used besides the flags, and only then', async () => {
    const settings = { ...TEST_CONFIG, sources: [{ use: 'consul' }] };
    await using files = await folder({ 'meshgate.yaml': JSON.stringify(settings) });
    const flags = ['--http-addr', 'http://127.0.0.1:1'];
    const why = 'found in the current folder, no --config given';
    const check = async (...args: readonly string[]): Promise<string> =>
      (await meshgate(['gateway', '--check', ...args], files.path)).stdout;
    const ok = 'meshgate.yaml: OK (sources: consul)\n';
    expect(await check(...flags)).toBe(`meshgate.yaml: ${why}\n${ok}`);
    expect(await check()).toBe(ok);
    expect(await check(...flags, '--config', 'meshgate.yaml')).toBe(ok);
    await using gateway = await readyDaemon(
      (node, main) => spawn(node, [main, 'gateway', ...flags], { cwd: files.path, stdio: ['ignore', 'pipe', 'pipe'] }),
      'started',
    );
    expect(gateway.lines[0]?.['msg']).toBe(`reading ${join(files.path, 'meshgate.yaml')}: ${why}`);
  });
});
