// One request, and what the proxies on its path report.
import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { expectationOf, problemsOf } from './judgement.ts';
import type { Hop, Outcome } from './judgement.ts';
import type { Mesh, RunningGateway, RunningSidecar } from './mesh.ts';
import type { Datacenter, Request } from './picture.ts';
import type { LogLine } from './program.ts';
import type { Stage } from './folder.ts';

/** Result of a request. */
export interface Journey extends Outcome {
  /** Where the application connects. */
  readonly url: string;
  /** The sidecar's full explanation of the mode. */
  readonly explained: string;
  /** From the request to the complete response, in milliseconds. */
  readonly tookMs: number;
  /** Deviations; empty when everything is as expected. */
  readonly problems: readonly string[];
}

/**
 * Sends a request, and determines its path from the counters and access logs of all gateways and sidecars.
 *
 * @param expecting the expectation: the path in the picture; or, when the files may have been changed since, the mode
 * that the sidecar now reports
 */
export async function travel(
  request: Request,
  mesh: Mesh,
  stage: Stage,
  expecting: 'written' | 'reported',
): Promise<Journey> {
  const url = `http://${formatEndpoint(stage.at(request.at))}/`;
  const before = await counted(mesh.gateways);
  const marks = new Map([...mesh.gateways, ...mesh.sidecars].map(({ program }) => [program, program.lines.length]));
  const { response, tookMs, failure } = await responseFrom(url);
  const after = await counted(mesh.gateways);
  const passed = mesh.gateways.filter((_gateway, index) => (after[index] ?? 0) > (before[index] ?? 0));

  const mark: Mark = (program) => marks.get(program) ?? 0;
  const trail = failure === undefined ? await follow(request, mesh, mark) : LOST;
  const { from, to } = request;
  const expected = expecting === 'written' ? request.expected : expectationOf(request, trail);
  const { mode, decidedBy, explained, gateways, hops } = trail;
  const journey = { from, to, url, expected, mode, decidedBy, explained, gateways, hops, response, tookMs };
  const counts = passed.map(({ datacenter }) => datacenter);
  if (failure === undefined) return { ...journey, problems: problemsOf(journey, counts) };
  return { ...journey, problems: [failure, ...(await complaints(request, mesh, mark))] };
}

// Far more than it takes, even on a busy machine.
const RESPONSE_MS = 10_000;

interface PageResponse {
  readonly response: string | undefined;
  readonly tookMs: number;
  readonly failure: string | undefined;
}

async function responseFrom(url: string): Promise<PageResponse> {
  const start = performance.now();
  try {
    const got = await fetch(url, { signal: AbortSignal.timeout(RESPONSE_MS) });
    const response = (await got.text()).trim();
    return { response, tookMs: performance.now() - start, failure: undefined };
  } catch (reason) {
    const cause = reason instanceof Error && reason.cause instanceof Error ? reason.cause : reason;
    const failure = `expected a response from ${url}, found: ${cause instanceof Error ? cause.message : String(cause)}`;
    return { response: undefined, tookMs: performance.now() - start, failure };
  }
}

/** Number of connections that each gateway has accepted. It counts a connection before it carries a byte of it. */
function counted(gateways: readonly RunningGateway[]): Promise<readonly number[]> {
  return Promise.all(
    gateways.map(async ({ admin }) => {
      const metrics = await (await fetch(`${admin}/metrics`, { signal: AbortSignal.timeout(RESPONSE_MS) })).text();
      const counts = metrics.matchAll(/^meshgate_connections_accepted_total\{.*\} (\d+)$/gm);
      return Array.from(counts, ([, count]) => Number(count)).reduce((sum, count) => sum + count, 0);
    }),
  );
}

interface Trail {
  readonly mode: string;
  readonly decidedBy: string;
  readonly explained: string;
  readonly gateways: readonly Datacenter[];
  readonly hops: readonly Hop[];
}

const LOST: Trail = { mode: '', decidedBy: '', explained: '', gateways: [], hops: [] };

type Mark = (program: RunningSidecar['program']) => number;

/** From the client's sidecar along the dialled addresses, to the first address outside of the mesh. */
async function follow({ from, to }: Request, mesh: Mesh, mark: Mark): Promise<Trail> {
  const querying = sidecarOf(from, mesh);
  const first = await accessLine(querying.program, mark, ({ listener }) => isUpstream(listener, to));
  const hops = [hopOf(querying.program.name, first)];
  const gateways: Datacenter[] = [];
  for (let next = at(mesh, first); next !== undefined;) {
    const line = await accessLine(next.program, mark, ({ serverName }) => typeof serverName === 'string');
    hops.push(hopOf(next.program.name, line));
    if (!('datacenter' in next)) break;
    gateways.push(next.datacenter);
    next = at(mesh, line);
  }
  const explained = textOf(first['decidedBy']);
  return { mode: textOf(first['mode']), decidedBy: positionIn(explained), explained, gateways, hops };
}

function isUpstream(listener: unknown, to: string): boolean {
  return listener === `upstream:${to}` || textOf(listener).startsWith(`upstream:${to}@`);
}

/** Why the client's sidecar has closed the connection. */
async function complaints({ from, to }: Request, mesh: Mesh, mark: Mark): Promise<readonly string[]> {
  const program = sidecarOf(from, mesh).program;
  const isIts = ({ listener, code }: LogLine): boolean => isUpstream(listener, to) && code !== undefined;
  const line = await accessLine(program, mark, isIts, COMPLAINT_MS).catch(() => undefined);
  return line === undefined ? [] : [`the ${program.name} says ${textOf(line['code'])}: ${textOf(line['reason'])}`];
}

// It is written at the moment when the client sees the end, if any.
const COMPLAINT_MS = 1_000;

function sidecarOf(name: string, { sidecars }: Mesh): RunningSidecar {
  const found = sidecars.find(({ service }) => service.name === name);
  if (found === undefined) throw new Error(`expected a sidecar of ${name}, found none`);
  return found;
}

/** Only lines of the access log have a duration. They are written when the connection has closed. */
function accessLine(
  program: RunningSidecar['program'],
  mark: Mark,
  isIts: (line: LogLine) => boolean,
  withinMs = RESPONSE_MS,
): Promise<LogLine> {
  return program.line((line) => 'durationMs' in line && isIts(line), {
    from: mark(program),
    what: 'a line in its access log',
    withinMs,
  });
}

/** The process that listens at the dialled address. */
function at(mesh: Mesh, { backend }: LogLine): RunningGateway | RunningSidecar | undefined {
  const isIt = (address: Endpoint): boolean => formatEndpoint(address) === backend;
  return (
    mesh.gateways.find(({ addresses }) => addresses.some(isIt)) ?? mesh.sidecars.find(({ address }) => isIt(address))
  );
}

function hopOf(by: string, { backend, serverName, identity, caller }: LogLine): Hop {
  const proved = identity ?? caller;
  return {
    by,
    dialled: textOf(backend),
    ...(typeof serverName === 'string' && { serverName }),
    ...(typeof proved === 'string' && { proved }),
  };
}

/** `remote by the service instance (web.hcl:11:18); …`: only the place. */
function positionIn(explained: string): string {
  const [, location] = /^(?:\w+ by the )?([^(;:]+?)\s*(?:[(;:]|$)/.exec(explained) ?? [];
  return location ?? explained;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
