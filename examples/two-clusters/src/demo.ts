// The whole demonstration, from top to bottom.
import { rmSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatEndpoint } from '@meshgate/core';
import { columns, Company, eventually, setUpStage } from '@meshgate/example-two-datacenters';
import type { Progress, Stage } from '@meshgate/example-two-datacenters';
import { responseOf, exportedName, LOCATIONS, REQUESTS } from './clusters.ts';
import type { ClusterName, Request } from './clusters.ts';
import { query, issueCertificates, linkPeers, startMesh } from './mesh.ts';
import type { Mesh } from './mesh.ts';

/** Options of a demonstration. */
export interface DemoOptions {
  /** Sends the requests and exits. */
  readonly once: boolean;
  /** Uses ports that the system chooses, instead of those in the files. */
  readonly freePorts: boolean;
  readonly progress: Progress;
  /** Aborted to end it. */
  readonly signal: AbortSignal;
}

const EXAMPLE = fileURLToPath(new URL('..', import.meta.url));

/**
 * Runs it until it is stopped, or once; then cleans up.
 *
 * @returns whether everything went as expected
 * @throws Error when something cannot be started, or exits unexpectedly
 */
export async function demonstrate(options: DemoOptions): Promise<boolean> {
  const { freePorts } = options;
  const parts = ['mesh', 'config'];
  await using stage = await setUpStage({ example: EXAMPLE, parts, locations: LOCATIONS, oneAddress: true, freePorts });
  const company = await Company.gather(join(stage.folder, 'logs'));
  process.once('exit', () => {
    company.kill();
    rmSync(stage.folder, { recursive: true, force: true });
  });
  const show = perform(options, stage, company);
  try {
    return await Promise.race([show, company.deserted]);
  } finally {
    await company[Symbol.asyncDispose]();
    // Everything it has started must have exited before the folder is removed.
    await show.catch(() => undefined);
  }
}

async function perform({ once, progress, signal }: DemoOptions, stage: Stage, company: Company): Promise<boolean> {
  for (const line of stage.moved) progress.print(line);
  await linkPeers(stage);
  await progress.during('two CAs and their certificates, for this run only', () => issueCertificates(stage));
  const mesh = await progress.during('2 gateways and 5 sidecars, ready', () => startMesh(stage, company, signal));
  const rows = await requests(mesh, stage, signal);
  const isRight = rows.every(([, , , , verdict]) => verdict === 'ok');
  progress.print(`\n${columns([['REQUEST', 'MODE', 'PATH TAKEN', 'ANSWER', ''], ...rows]).join('\n')}\n`);
  if (once || signal.aborted) return isRight;
  progress.print(
    `The files: ${stage.folder}\nThe gateways: ${mesh.gateways.alpha} and ${mesh.gateways.beta}\nCtrl-C ends everything.`,
  );
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  return isRight;
}

type Row = readonly [request: string, mode: string, path: string, response: string, verdict: string];

async function requests(mesh: Mesh, stage: Stage, signal: AbortSignal): Promise<readonly Row[]> {
  const rows = [
    await send(REQUESTS.local, mesh, stage),
    await send(REQUESTS.remote, mesh, stage),
    await send(REQUESTS.home, mesh, stage),
  ];
  await setStock('critical', stage);
  await untilAnswered(REQUESTS.failover, stage, signal);
  rows.push(await send(REQUESTS.failover, mesh, stage));
  await setStock('passing', stage);
  await untilAnswered(REQUESTS.home, stage, signal);
  return [...rows, await send(REQUESTS.home, mesh, stage), await promptForSecret(mesh)];
}

/** The status of `stock`'s check in alpha: file-based processes notice a change within a second. */
async function setStock(status: string, { folder }: Stage): Promise<void> {
  const file = join(folder, 'mesh/alpha/dc1/stock.hcl');
  const text = await readFile(file, 'utf8');
  await writeFile(`${file}.new`, text.replace(/status = "\w+"/, `status = "${status}"`));
  await rename(`${file}.new`, file);
}

async function untilAnswered(request: Request, stage: Stage, signal: AbortSignal): Promise<void> {
  const expected = responseOf({ name: request.to, cluster: request.from });
  await eventually(`"${expected}"`, NOTICED_MS, signal, async () => {
    const response = await responseTo(request, stage);
    return response === expected ? { done: true } : { missing: response };
  });
}

// On an idle machine it takes a second.
const NOTICED_MS = 20_000;

async function send(request: Request, mesh: Mesh, stage: Stage): Promise<Row> {
  const before = await accepted(mesh);
  const from = mesh.web.lines.length;
  const response = await responseTo(request, stage);
  const { path, mode } = await mesh.web.line((line) => 'durationMs' in line && line['path'] !== undefined, {
    from,
    what: 'a line in its access log',
    withinMs: NOTICED_MS,
  });
  const after = await accepted(mesh);
  const passed = (['alpha', 'beta'] as const).filter((cluster) => after[cluster] > before[cluster]);
  const isRight =
    path === request.path &&
    passed.join() === request.gateways.join() &&
    response === responseOf({ name: request.to, cluster: request.from });
  return [`web → ${request.to}`, String(mode), pathText(passed), response, isRight ? 'ok' : 'not as expected'];
}

function pathText(passed: readonly ClusterName[]): string {
  if (passed.length === 0) return 'direct, no gateway';
  return passed.length === 2 ? 'both gateways' : `${passed.join()}'s gateway`;
}

async function responseTo({ at }: Request, stage: Stage): Promise<string> {
  try {
    return await query(`http://${formatEndpoint(stage.at(at))}/`);
  } catch (reason) {
    return reason instanceof Error ? reason.message : String(reason);
  }
}

/** Number of connections that each gateway has accepted. */
async function accepted({ gateways }: Mesh): Promise<Readonly<Record<ClusterName, number>>> {
  const count = async (url: string): Promise<number> => {
    const counts = (await query(`${url}/metrics`)).matchAll(/^meshgate_connections_accepted_total\{.*\} (\d+)$/gm);
    return Array.from(counts, ([, value]) => Number(value)).reduce((sum, value) => sum + value, 0);
  };
  return { alpha: await count(gateways.alpha), beta: await count(gateways.beta) };
}

/** A service that is not exported has no name: neither gateway routes it. */
async function promptForSecret({ gateways }: Mesh): Promise<Row> {
  const name = exportedName('secret');
  const responses = await Promise.all(Object.values(gateways).map((url) => query(`${url}/explain?serverName=${name}`)));
  const isUnknown = responses.every((text) => !(JSON.parse(text) as { readonly found: boolean }).found);
  const response = isUnknown ? 'no route, as it is not exported' : 'a route, though it is not exported';
  return ['alpha → secret', '', '', response, isUnknown ? 'ok' : 'not as expected'];
}
