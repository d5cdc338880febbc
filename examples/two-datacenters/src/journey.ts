// One request, and what those who carried it say of it.
import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { answerOf } from './application.ts';
import type { Mesh, RunningGateway, RunningSidecar } from './mesh.ts';
import { serviceNamed } from './picture.ts';
import type { Datacenter, Expectation, Request } from './picture.ts';
import type { LogLine } from './program.ts';
import type { Stage } from './stage.ts';

/** What one of those who carried the request wrote into its access log. */
export interface Hop {
  /** `sidecar of web`, `gateway of primary` */
  readonly by: string;
  /** Whom it connected to. */
  readonly dialled: string;
  /** The name that it was asked for; absent where the application connects to its own sidecar. */
  readonly serverName?: string;
  /** Who the other side has proved to be by its certificate. Sidecars only: a gateway cannot know. */
  readonly proved?: string;
}

/** What became of a request. */
export interface Journey {
  readonly from: string;
  readonly to: string;
  /** Where the application connects. */
  readonly url: string;
  readonly expected: Expectation;
  /** What the sidecar says: the mode, the place that decided, and the whole of its explanation. */
  readonly mode: string;
  readonly decidedBy: string;
  readonly explained: string;
  /** Whose gateways it passed, in this order. */
  readonly gateways: readonly Datacenter[];
  readonly hops: readonly Hop[];
  /** What the application at the other end answered; `undefined` when nothing came. */
  readonly answer: string | undefined;
  /** From the request to the whole answer, in milliseconds. */
  readonly tookMs: number;
  /** What is not as expected; empty when all is. */
  readonly problems: readonly string[];
}

/**
 * Sends a request, and finds out by the counters and the access logs of all who may have seen it which way it took.
 *
 * @param expecting what to hold it to: the picture, as it is written; or, when somebody may have changed the files since, the
 *   mode that the sidecar now says it has
 */
export async function travel(
  request: Request,
  mesh: Mesh,
  stage: Stage,
  expecting: 'written' | 'said',
): Promise<Journey> {
  const url = `http://${formatEndpoint(stage.at(request.at))}/`;
  const before = await counted(mesh.gateways);
  const marks = new Map([...mesh.gateways, ...mesh.sidecars].map(({ program }) => [program, program.lines.length]));
  const { answer, tookMs, failure } = await answerFrom(url);
  const after = await counted(mesh.gateways);
  const passed = mesh.gateways.filter((_gateway, index) => (after[index] ?? 0) > (before[index] ?? 0));

  const trail = failure === undefined ? await follow(request, mesh, (program) => marks.get(program) ?? 0) : LOST;
  const { from, to } = request;
  const expected = expecting === 'written' ? request.expected : fitting(request, trail);
  const { mode, decidedBy, explained, gateways, hops } = trail;
  const journey = { from, to, url, expected, mode, decidedBy, explained, gateways, hops, answer, tookMs };
  const counts = passed.map(({ datacenter }) => datacenter);
  return { ...journey, problems: failure === undefined ? problemsOf(journey, counts) : [failure] };
}

// Far more than it takes, also on a machine with something else to do.
const ANSWER_MS = 10_000;

interface Answer {
  readonly answer: string | undefined;
  readonly tookMs: number;
  readonly failure: string | undefined;
}

async function answerFrom(url: string): Promise<Answer> {
  const start = performance.now();
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) });
    const answer = (await response.text()).trim();
    return { answer, tookMs: performance.now() - start, failure: undefined };
  } catch (reason) {
    const cause = reason instanceof Error && reason.cause instanceof Error ? reason.cause : reason;
    const failure = `expected an answer from ${url}, found: ${cause instanceof Error ? cause.message : String(cause)}`;
    return { answer: undefined, tookMs: performance.now() - start, failure };
  }
}

/** How many connections each gateway has accepted. It counts one before it carries a byte of it. */
function counted(gateways: readonly RunningGateway[]): Promise<readonly number[]> {
  return Promise.all(
    gateways.map(async ({ admin }) => {
      const metrics = await (await fetch(`${admin}/metrics`, { signal: AbortSignal.timeout(ANSWER_MS) })).text();
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

/** From the sidecar of the one who asks: whom it dialled, whom that one dialled, until nobody of the mesh is at the address. */
async function follow({ from, to }: Request, mesh: Mesh, mark: Mark): Promise<Trail> {
  const asking = mesh.sidecars.find(({ service }) => service.name === from);
  if (asking === undefined) throw new Error(`expected a sidecar of ${from}, found none`);
  const first = await accessLine(asking.program, mark, ({ listener }) => isUpstream(listener, to));
  const hops = [hopOf(asking.program.name, first)];
  const gateways: Datacenter[] = [];
  for (let next = at(mesh, first); next !== undefined;) {
    const line = await accessLine(next.program, mark, ({ serverName }) => typeof serverName === 'string');
    hops.push(hopOf(next.program.name, line));
    if (!('datacenter' in next)) break;
    gateways.push(next.datacenter);
    next = at(mesh, line);
  }
  const explained = textOf(first['decidedBy']);
  return { mode: textOf(first['mode']), decidedBy: placeIn(explained), explained, gateways, hops };
}

function isUpstream(listener: unknown, to: string): boolean {
  return listener === `upstream:${to}` || textOf(listener).startsWith(`upstream:${to}@`);
}

/** Lines of the access log have a duration; nothing else has. It is written when the connection has closed. */
function accessLine(
  program: RunningSidecar['program'],
  mark: Mark,
  isIts: (line: LogLine) => boolean,
): Promise<LogLine> {
  return program.line((line) => 'durationMs' in line && isIts(line), {
    from: mark(program),
    what: 'a line in its access log',
    withinMs: ANSWER_MS,
  });
}

/** Who listens at the address that was dialled. */
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

/** `remote by the service instance (web.hcl:11:18); …`: the place alone. */
function placeIn(explained: string): string {
  const [, place] = /^(?:\w+ by the )?([^(;:]+?)\s*(?:[(;:]|$)/.exec(explained) ?? [];
  return place ?? explained;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** @param counts the gateways whose counters have moved */
function problemsOf(journey: Omit<Journey, 'problems'>, counts: readonly Datacenter[]): readonly string[] {
  const { expected, hops, answer, to } = journey;
  const problems = (['mode', 'decidedBy'] as const)
    .filter((key) => journey[key] !== expected[key])
    .map((key) => `${NAMES[key]}: expected ${expected[key]}, found ${journey[key]}`);
  if (!isSame(journey.gateways, expected.gateways))
    problems.push(`path: expected ${pathText(expected.gateways)}, found ${pathText(journey.gateways)}`);
  if (!isSame([...journey.gateways].sort(), [...counts].sort()))
    problems.push(`the access logs say ${pathText(journey.gateways)}, the counters ${pathText(counts)}`);
  const last = hops.at(-1)?.by;
  if (last !== `sidecar of ${to}`) problems.push(`expected to arrive at the sidecar of ${to}, found ${last}`);
  const right = answerOf(serviceNamed(to));
  if (answer !== right) problems.push(`expected the answer "${right}", found "${answer}"`);
  return problems;
}

/** What the mode that the sidecar says must lead to. */
function fitting({ from, to, expected }: Request, { mode, decidedBy }: Trail): Expectation {
  const [here, there] = [serviceNamed(from).datacenter, serviceNamed(to).datacenter];
  const gateways = { local: [here, there], remote: [there] }[mode] ?? [];
  return { ...expected, mode, decidedBy, gateways: here === there ? [] : gateways };
}

const NAMES = { mode: 'mode', decidedBy: 'decided by' } as const;

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((each, index) => each === other[index]);
}

/** For people: `secondary's gateway`. */
export function pathText(gateways: readonly Datacenter[]): string {
  const [first, ...others] = gateways;
  if (first === undefined) return 'direct, no gateway';
  if (others.length > 0 && isSame(gateways, ['primary', 'secondary'])) return 'both gateways';
  return gateways.map((datacenter) => `${datacenter}'s gateway`).join(', ');
}
