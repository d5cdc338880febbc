import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { needs } from '@meshgate/testkit';
import type { DeclareSuite } from '@meshgate/testkit';

/** The exports of `scripts/consul.mjs`. */
interface ConsulScript {
  findConsul(): string | undefined;
  minorRelease(binary: string): number;
  closedPorts(binary: string): Readonly<Record<string, number>>;
}

// A URL that the compiler cannot resolve: the script is plain JavaScript outside this package.
const script = (await import(new URL('../../../../scripts/consul.mjs', import.meta.url).href)) as ConsulScript;
const binary = script.findConsul();

/** For Consul's own commands. */
export const consulBinary = binary ?? 'consul';

/** Minor version of the binary: 16 for 1.16.4. Without a binary the oldest that is tested. */
export const consulMinor = binary === undefined ? 8 : script.minorRelease(binary);

/** A suite that needs a Consul binary. */
export const describeWithConsul: DeclareSuite = needs(
  'consul',
  binary === undefined ? 'no binary on PATH, in MESHGATE_CONSUL_BIN or fetched by scripts/consul.mjs' : true,
);

/** A Consul server on loopback, ready for requests. */
export interface ConsulAgent extends AsyncDisposable {
  readonly address: string;
  /** Rejects for any status other than 200. */
  send(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<unknown>;
  signal(name: NodeJS.Signals): void;
  /** Kills it: only state on disk survives. */
  kill(): Promise<void>;
  /** Starts it again after {@link kill} with the state on disk, and waits until it is ready. */
  restart(): Promise<void>;
}

/** Starts one, and waits until it has a leader and a certificate authority. */
export async function startConsul(): Promise<ConsulAgent> {
  const [http = 0, server = 0, lan = 0, wan = 0] = await freePorts(4);
  const folder = mkdtempSync(join(tmpdir(), 'meshgate-consul-test-'));
  const config = {
    data_dir: join(folder, 'data'),
    datacenter: 'dc1',
    server: true,
    bootstrap_expect: 1,
    bind_addr: '127.0.0.1',
    connect: { enabled: true },
    ports: { http, server, serf_lan: lan, serf_wan: wan, grpc: -1, ...script.closedPorts(consulBinary) },
    performance: { raft_multiplier: 1 },
    log_level: 'ERROR',
  };
  writeFileSync(join(folder, 'agent.json'), JSON.stringify(config));
  let child = start();
  const address = `http://127.0.0.1:${http}`;
  await untilReady();
  return { address, send, signal: (name) => void child.kill(name), kill, restart, [Symbol.asyncDispose]: stop };

  function start(): ChildProcess {
    return spawn(consulBinary, ['agent', '-config-file', join(folder, 'agent.json')], { stdio: 'ignore' });
  }

  async function untilReady(): Promise<void> {
    for (let ready = false; !ready; ready = await isReady()) await pause(POLL_MS);
  }

  async function kill(): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async function restart(): Promise<void> {
    child = start();
    await untilReady();
  }

  async function isReady(): Promise<boolean> {
    const roots = await send('GET', 'agent/connect/ca/roots').catch(() => undefined);
    return typeof roots === 'object' && roots !== null && 'TrustDomain' in roots;
  }

  async function send(method: string, path: string, body?: unknown): Promise<unknown> {
    const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
    const response = await fetch(`${address}/v1/${path}`, init);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: expected success, found ${response.status}: ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }

  async function stop(): Promise<void> {
    await kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

const POLL_MS = 50;

/** Ports that are currently free. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const probes = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(probes.map((probe) => once(probe, 'listening')));
  const ports = probes.map((probe) => (probe.address() as AddressInfo).port);
  const closed = probes.map((probe) => once(probe, 'close'));
  for (const probe of probes) probe.close();
  await Promise.all(closed);
  return ports;
}
