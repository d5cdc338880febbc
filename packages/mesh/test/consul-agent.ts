import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { type DeclareSuite, needs } from '@meshgate/testkit';

/** The exports of `scripts/consul.mjs`. */
interface ConsulScript {
  findConsul(): string | undefined;
  minorRelease(binary: string): number;
}

// A URL that the compiler cannot resolve: the script is plain JavaScript outside this package.
const script = (await import(new URL('../../../scripts/consul.mjs', import.meta.url).href)) as ConsulScript;
const binary = script.findConsul();

/** A suite that needs a Consul binary. */
export const describeWithConsul: DeclareSuite = needs(
  'consul',
  binary === undefined ? 'no binary on PATH, in MESHGATE_CONSUL_BIN or fetched by scripts/consul.mjs' : true,
);

/** A Consul server that keeps everything in memory, on loopback ports of its own. */
export interface ConsulAgent extends AsyncDisposable {
  /** @throws Error with Consul's message, for any status other than 200 */
  query(method: string, path: string, body?: unknown): Promise<unknown>;
}

/** Starts one and waits until it has a leader and a certificate authority. */
export async function consulAgent(): Promise<ConsulAgent> {
  const [http, server, lan, wan] = await freePorts(4);
  const ports = ['-http-port', http, '-server-port', server, '-serf-lan-port', lan, '-serf-wan-port', wan];
  const settings = ['-bind', '127.0.0.1', '-dns-port', '-1', '-grpc-port', '-1', '-log-level', 'err'];
  const newer = script.minorRelease(binary ?? '') < 14 ? [] : ['-grpc-tls-port', '-1'];
  const flags = ['agent', '-dev', ...settings, ...newer, ...ports.map(String)];
  const child = spawn(binary ?? '', flags, { stdio: 'ignore' });
  const agent = {
    query: (method: string, path: string, body?: unknown) => query(`http://127.0.0.1:${http}`, method, path, body),
  };
  while (!(await isReady(agent, child))) await pause(BETWEEN_LOOKS_MS);
  return { ...agent, [Symbol.asyncDispose]: () => ended(child) };
}

// A dev agent is ready within a second or two; there is no event to wait for.
const BETWEEN_LOOKS_MS = 50;

async function isReady(agent: Pick<ConsulAgent, 'query'>, child: ChildProcess): Promise<boolean> {
  if (child.exitCode !== null) throw new Error(`expected Consul to run, found it ended with status ${child.exitCode}`);
  const roots = await agent.query('GET', 'agent/connect/ca/roots').catch(() => undefined);
  const nodes = await agent.query('GET', 'catalog/nodes').catch(() => []);
  return roots !== undefined && Array.isArray(nodes) && nodes.length > 0;
}

async function query(address: string, method: string, path: string, body: unknown): Promise<unknown> {
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
  const response = await fetch(`${address}/v1/${path}`, init);
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text === '' ? undefined : (JSON.parse(text) as unknown);
}

async function ended(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

async function freePorts(count: number): Promise<readonly number[]> {
  const probes = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(probes.map((probe) => once(probe, 'listening')));
  const ports = probes.map((probe) => (probe.address() as AddressInfo).port);
  await Promise.all(probes.map((probe) => once(probe.close(), 'close')));
  return ports;
}
