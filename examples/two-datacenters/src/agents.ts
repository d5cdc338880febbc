// The variant with Consul: two agents that know each other, with the example's files registered.
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { formatEndpoint } from '@meshgate/core';
import type { Company } from './company.ts';
import { eventually } from './eventually.ts';
import { AGENTS } from './picture.ts';
import type { Agent, Datacenter } from './picture.ts';
import type { Stage } from './folder.ts';

/** Path and version of a Consul binary. */
export interface Binary {
  readonly path: string;
  /** `1.8.7` */
  readonly version: string;
}

const run = promisify(execFile);

/** @throws Error when it is not Consul */
export async function binaryAt(path: string): Promise<Binary> {
  const logged = await run(path, ['version']).then(({ stdout }) => stdout, String);
  const [, version] = /^Consul v(\S+)/.exec(logged) ?? [];
  if (version === undefined) throw new Error(`expected ${path} to be Consul, found one that says: ${logged.trim()}`);
  return { path, version };
}

/** Starts both agents, and waits until each knows the other and has a CA. */
export async function startAgents(
  { path, version }: Binary,
  stage: Stage,
  company: Company,
  signal: AbortSignal,
): Promise<void> {
  for (const { datacenter } of AGENTS) {
    const file = join(stage.folder, 'consul', `${datacenter}.hcl`);
    // -dev: nothing is stored on disk, and a leader is elected at once.
    const args = ['agent', '-dev', '-config-file', file, ...sinceTlsPort(version)];
    company.start(`Consul agent of ${datacenter}`, path, args);
  }
  const known = AGENTS.map(async (agent) => {
    const query = (what: string): Promise<unknown> => get(agent, stage, what);
    await eventually(`the Consul agent of ${agent.datacenter} to be ready`, AGENTS_MS, signal, async () => {
      const members = (await query('agent/members?wan=1')) as readonly { readonly Status: number }[];
      const alive = members.filter(({ Status }) => Status === SERF_ALIVE).length;
      if (alive < AGENTS.length) return { missing: `it knows ${alive} of ${AGENTS.length} agents` };
      const { TrustDomain } = (await query('agent/connect/ca/roots')) as { readonly TrustDomain?: string };
      return TrustDomain === undefined ? { missing: 'it has no certificate authority' } : { done: TrustDomain };
    });
  });
  await Promise.all(known);
}

/** Registers the example's mesh files with the agents, through Consul's own command line: central configuration first. */
export async function register({ path }: Binary, stage: Stage): Promise<void> {
  for (const { datacenter, http } of AGENTS) {
    const folder = join(stage.folder, 'mesh', datacenter);
    const names = await readdir(folder);
    const isEntry = (name: string): boolean => name.endsWith('-defaults.hcl');
    const files = (some: readonly string[]): readonly string[] => some.map((name) => join(folder, name));
    const agent = `-http-addr=${formatEndpoint(stage.at(http))}`;
    for (const file of files(names.filter(isEntry))) await run(path, ['config', 'write', agent, file]);
    await run(path, ['services', 'register', agent, ...files(names.filter((name) => !isEntry(name)))]);
  }
}

/** The API of the agent of a datacenter. */
export function apiOf(datacenter: Datacenter, stage: Pick<Stage, 'at'>): string {
  const agent = AGENTS.find((one) => one.datacenter === datacenter);
  if (agent === undefined) throw new Error(`expected an agent of ${datacenter}, found none`);
  return `http://${formatEndpoint(stage.at(agent.http))}`;
}

// A leader takes a second, joining another; a busy machine may need longer.
const AGENTS_MS = 60_000;
/** Serf's number for this status. */
const SERF_ALIVE = 1;

/** From 1.14 on there is another port, which both agents would use. */
function sinceTlsPort(version: string): readonly string[] {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 1 || minor >= 14 ? ['-hcl', 'ports { grpc_tls = -1 }'] : [];
}

async function get({ datacenter }: Agent, stage: Stage, what: string): Promise<unknown> {
  const response = await fetch(`${apiOf(datacenter, stage)}/v1/${what}`, { signal: AbortSignal.timeout(RESPONSE_MS) });
  if (!response.ok)
    throw new Error(`${what}: expected 200, found ${response.status}: ${(await response.text()).trim()}`);
  return response.json();
}

const RESPONSE_MS = 5_000;
