// 100,000 real addresses, one connection each: the gateway's memory for them does not grow with their number.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { clientHello, inRecords, needs } from '@meshgate/testkit';
import { expect, it } from 'vitest';
import { folder } from './daemon.ts';
import { Namespace, namespacesAvailable } from './federation/namespace.ts';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const CLIENTS = fileURLToPath(new URL('flood-clients.mjs', import.meta.url));
const PORT = 8443;
const HALF = 50_000;
/** Room for garbage that has not been collected yet. */
const MAY_GROW_BYTES = 24 * 1024 * 1024;

async function until(lines: AsyncIterator<string>, isIt: (line: string) => boolean): Promise<string> {
  for (;;) {
    const { value, done = false } = await lines.next();
    if (done) throw new Error('expected one more line, found the end');
    if (isIt(value)) return value;
  }
}

function linesOf({ stdout }: ChildProcess): AsyncIterator<string> {
  if (stdout === null) throw new Error('expected a standard output, found none');
  return createInterface({ input: stdout })[Symbol.asyncIterator]();
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'close');
  child.kill('SIGKILL');
  await gone;
}

/** The metrics, over a unix socket, which works across network namespaces. */
async function metrics(socketPath: string): Promise<string> {
  const queried = request({ socketPath, path: '/metrics' });
  queried.end();
  const [response] = (await once(queried, 'response')) as [AsyncIterable<Buffer>];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function seriesOf(text: string, series: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  return Number(line?.split(' ')[1] ?? NaN);
}

needs('netns', namespacesAvailable())('a flood from 300,000 addresses', () => {
  it(
    'costs a bounded amount of memory: limits per client, and a list of 100,000 blocks',
    { timeout: 240_000 },
    async () => {
      await using namespace = await Namespace.create('flood');
      // Every address of the block is local.
      await namespace.ip('-6', 'route', 'add', 'local', '2001:db8::/32', 'dev', 'lo');
      const sysctl = namespace.spawn(['sysctl', '-qw', 'net.ipv6.ip_nonlocal_bind=1'], 'ignore');
      await once(sysctl, 'close');
      // Every second client is denied.
      const denied = Array.from({ length: HALF }, (_, index) => {
        const at = 2 * index + 1;
        return `2001:db8:${(at >>> 16).toString(16)}:${(at & 0xffff).toString(16)}::/64`;
      });
      const others = Array.from({ length: HALF }, (_, index) => `2001:db9:${index.toString(16)}::/48`);
      await using files = await folder({
        'denied.txt': [...denied, ...others].join('\n'),
        // Nothing listens there: a client costs one dial, which fails at once.
        'routes.yaml': { routes: [{ serverNames: ['*'], backends: [{ address: '::1', port: 1 }] }] },
      });
      const admin = `${files.path}/admin.sock`;
      const config = await files.write('meshgate.yaml', {
        listeners: [{ name: 'main', address: '::1', port: PORT, access: { denyFile: 'denied.txt' } }],
        sources: [{ use: 'file', path: 'routes.yaml' }],
        admin: { address: `unix:${admin}` },
        limits: { perClient: { connections: 4, rate: '2/h' } },
        log: { access: false, level: 'warn' },
      });
      const gateway = namespace.spawn(
        [process.execPath, MAIN, 'gateway', '--config', config],
        ['ignore', 'ignore', 'inherit'],
      );
      const hello = inRecords(clientHello({ serverName: 'api.example.com' }));
      const clients = namespace.spawn(
        [process.execPath, CLIENTS, String(PORT), Buffer.from(hello).toString('base64')],
        ['pipe', 'pipe', 'inherit'],
      );
      try {
        await expect
          .poll(() => metrics(admin).catch(() => ''), { timeout: 40_000 })
          .toContain('meshgate_listener_up{listener="main"} 1');
        const responses = linesOf(clients);
        const flood = async (from: number): Promise<string> => {
          clients.stdin?.write(`${from} ${HALF}\n`);
          expect(Number(await until(responses, () => true))).toBe(HALF);
          return metrics(admin);
        };
        // Earlier clients bring the heap to the size that a flood causes.
        await flood(2 * HALF);
        const first = await flood(0);
        const second = await flood(HALF);
        const code = 'meshgate_connections_refused_total{listener="main",code="CLIENT_DENIED"}';
        expect([seriesOf(first, code), seriesOf(second, code)]).toEqual([HALF / 2, HALF]);
        const later: string[] = [];
        for (const from of [3, 4, 5]) later.push(await flood(from * HALF));
        // The heap grows and shrinks with each collection: compares the minimum after the last floods with the maximum
        // after the first.
        const memory = (text: string): number => seriesOf(text, 'process_resident_memory_bytes');
        const [most, least] = [Math.max(...[first, second].map(memory)), Math.min(...later.slice(1).map(memory))];
        expect(least - most).toBeLessThan(MAY_GROW_BYTES);
        expect(second.match(/^meshgate_connections_active\{.*\} (?!0$)/m)).toBeNull();
      } finally {
        await ended(clients);
        await ended(gateway);
      }
    },
  );
});
