import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { needs } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { isRunning, startDemo } from './demo-process.ts';
import type { Findings } from './demo-process.ts';

/** The exports of `scripts/consul.mjs`. */
interface ConsulScript {
  findConsul(): string | undefined;
}

// A URL that the compiler cannot resolve: the script is plain JavaScript outside this package.
const script = (await import(new URL('../../../scripts/consul.mjs', import.meta.url).href)) as ConsulScript;
const binary = script.findConsul();
const describeWithConsul = needs(
  'consul',
  binary === undefined ? 'no binary on PATH, in MESHGATE_CONSUL_BIN or fetched by scripts/consul.mjs' : true,
);

// Ten processes start, on a machine of any speed.
const DEMO_MS = 90_000;

/** From, to, mode, what decided it, and gateways on the path: all modes, and all places where one can be set. */
const PICTURE = [
  ['web', 'api', 'remote', 'service instance', ['secondary']],
  ['web', 'db', 'local', 'upstream definition', ['primary', 'secondary']],
  ['web', 'logging', 'none', 'upstream definition', []],
  ['web', 'orders', 'remote', 'same datacenter', []],
  ['orders', 'db', 'remote', 'service defaults', ['secondary']],
  ['reports', 'api', 'local', 'proxy defaults', ['primary', 'secondary']],
];

function table({ requests }: Findings): readonly unknown[] {
  return requests.map(({ from, to, mode, decidedBy, gateways }) => [from, to, mode, decidedBy, gateways]);
}

/** That each request arrived, which proxies carried it, and which identities were verified. */
function expectProof({ requests }: Findings): void {
  for (const { from, to, gateways, hops, response, asExpected } of requests) {
    const there = to === 'orders' ? 'primary' : 'secondary';
    expect(response).toBe(`${to} in ${there} answers`);
    expect(asExpected).toBe(true);
    expect(hops.map(({ by }) => by)).toEqual([
      `sidecar of ${from}`,
      ...gateways.map((datacenter) => `gateway of ${datacenter}`),
      `sidecar of ${to}`,
    ]);
    expect(hops.at(0)?.proved).toMatch(new RegExp(`/dc/${there}/svc/${to}$`));
    expect(hops.at(-1)?.proved).toMatch(new RegExp(`/dc/primary/svc/${from}$`));
    for (const hop of hops.slice(1, -1)) expect(hop.proved).toBeUndefined();
  }
}

describe('npm run demo, with mesh files', () => {
  it(
    'sends requests in every mode, set in every place, and proves that each used its path',
    async () => {
      const demo = startDemo(['--once', '--json', '--mesh-files']);
      const { status, stdout, stderr } = await demo.ended;
      expect({ status, stderr }).toMatchObject({ status: 0 });
      const findings = JSON.parse(stdout) as Findings;
      expect(findings.form).toBe('mesh-files');
      expect(table(findings)).toEqual(PICTURE);
      expectProof(findings);
      expect(demo.leftovers()).toEqual([]);
      expect(findings.processes.filter(({ pid }) => isRunning(pid))).toEqual([]);
      // The output for people, as the page shows it, without colours.
      for (const block of consoleBlocks()) expect(alike(stderr)).toContain(alike(block));
    },
    DEMO_MS,
  );

  it(
    'continues, on 127.0.0.1 alone if necessary, and Ctrl-C ends all of its processes',
    async () => {
      const demo = startDemo(['--json', '--mesh-files', '--one-address']);
      const findings = await demo.findings();
      expect(table(findings)).toEqual(PICTURE);
      expect(
        new Set(findings.requests.flatMap(({ hops }) => hops.map(({ dialled }) => dialled.split(':')[0]))),
      ).toEqual(new Set(['127.0.0.1']));
      await demo.until(({ stderr }) => stderr.includes('Ctrl-C ends everything'));
      const [web] = findings.requests;
      expect(await (await fetch(web?.url ?? '')).text()).toBe('api in secondary answers\n');
      demo.signal('SIGINT');
      expect((await demo.ended).status).toBe(0);
      expect(demo.leftovers()).toEqual([]);
      expect(findings.processes.filter(({ pid }) => isRunning(pid))).toEqual([]);
    },
    DEMO_MS,
  );

  it(
    'Ctrl-C during the start ends what has been started',
    async () => {
      const demo = startDemo(['--mesh-files']);
      await demo.until(({ stdout }) => stdout.includes('ok  certificates'));
      demo.signal('SIGINT');
      const { status, stderr } = await demo.ended;
      expect({ status, stderr }).toEqual({ status: 130, stderr: '' });
      expect(demo.leftovers()).toEqual([]);
    },
    DEMO_MS,
  );

  it(
    'a process that exits unexpectedly is reported by name, and ends the others',
    async () => {
      const demo = startDemo(['--json', '--mesh-files']);
      const { processes } = await demo.findings();
      process.kill(processes.find(({ name }) => name === 'sidecar of db')?.pid ?? 0, 'SIGKILL');
      const { status, stderr } = await demo.ended;
      expect(status).toBe(1);
      expect(stderr).toContain('FAILED  sidecar of db ended with signal SIGKILL');
      expect(demo.leftovers()).toEqual([]);
      expect(processes.filter(({ pid }) => isRunning(pid))).toEqual([]);
    },
    DEMO_MS,
  );

  it.each([
    [['--twice'], {}, 2, /'--twice'/],
    [['--consul', '--mesh-files'], {}, 2, /expected --consul or --mesh-files, found both/],
    [['--once'], { MESHGATE_CONSUL_BIN: '/nowhere' }, 1, /expected MESHGATE_CONSUL_BIN to name an executable/],
    [['--once', '--consul'], { MESHGATE_CONSUL_BIN: process.execPath }, 1, /to be Consul/],
  ])('%j %j: reports what is wrong', async (args, env, expected, message) => {
    const { status, stderr } = await startDemo(args, env).ended;
    expect(status).toBe(expected);
    expect(stderr).toMatch(message);
  });
});

describeWithConsul('npm run demo, with Consul', () => {
  it(
    'the same files, registered with two agents, lead to the same paths',
    async () => {
      const demo = startDemo(['--once', '--json', '--consul']);
      const { status, stdout, stderr } = await demo.ended;
      expect({ status, stderr }).toMatchObject({ status: 0 });
      const findings = JSON.parse(stdout) as Findings;
      expect(findings).toMatchObject({ form: 'consul', consul: expect.stringMatching(/^\d+\.\d+\.\d+/) });
      expect(table(findings)).toEqual(PICTURE);
      expectProof(findings);
      expect(findings.processes.map(({ name }) => name)).toContain('Consul agent of primary');
      expect(demo.leftovers()).toEqual([]);
      expect(findings.processes.filter(({ pid }) => isRunning(pid))).toEqual([]);
    },
    DEMO_MS,
  );
});

/** The output that this example's page shows. */
function consoleBlocks(): readonly string[] {
  const page = readFileSync(fileURLToPath(new URL('../README.md', import.meta.url)), 'utf8');
  return Array.from(page.matchAll(/^```text output\n([^]*?)^```$/gm), ([, text = '']) => text);
}

/** Without the variable parts: durations, the folder, addresses. */
function alike(text: string): string {
  return text
    .replaceAll(/\d+(\.\d+)? (ms|s)\b/g, 'T')
    .replaceAll(/\S*meshgate-demo-\w{6}/g, 'FOLDER')
    .replaceAll(/127\.0\.\d+\.\d+:\d+ */g, 'ADDRESS ');
}
