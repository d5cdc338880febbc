// Whether a request went as expected. Pure: facts in, deviations out.
import { responseOf } from './application.ts';
import { DATACENTERS, serviceNamed } from './picture.ts';
import type { Datacenter, Expectation, Request } from './picture.ts';

/** The access log line of one proxy on the path. */
export interface Hop {
  /** `sidecar of web`, `gateway of primary` */
  readonly by: string;
  /** The address it dialled. */
  readonly dialled: string;
  /** The requested server name; absent where the application connects to its own sidecar. */
  readonly serverName?: string;
  /** The identity in the other side's certificate. Sidecars only: a gateway cannot see it. */
  readonly proved?: string;
}

/** The facts about a finished request. */
export interface Outcome {
  readonly from: string;
  readonly to: string;
  readonly expected: Expectation;
  /** As the client's sidecar reports. */
  readonly mode: string;
  /** The setting that decided the mode, or why none is needed. */
  readonly decidedBy: string;
  /** The gateways on its path, in order, from the access logs. */
  readonly gateways: readonly Datacenter[];
  readonly hops: readonly Hop[];
  /** The response of the application; `undefined` when there was none. */
  readonly response: string | undefined;
}

/**
 * Deviations; empty when everything is as expected.
 *
 * @param counts the gateways whose counters have increased meanwhile
 */
export function problemsOf(outcome: Outcome, counts: readonly Datacenter[]): readonly string[] {
  const { expected, hops, response, to, gateways } = outcome;
  const arrived = hops.at(-1)?.by ?? 'nowhere';
  return [
    ...differing('mode', expected.mode, outcome.mode),
    ...differing('decided by', expected.decidedBy, outcome.decidedBy),
    ...differing('path', pathText(expected.gateways), pathText(gateways)),
    ...differing('counters', pathText(DATACENTERS.filter((one) => gateways.includes(one))), pathText(counts)),
    ...differing('arrived at', `sidecar of ${to}`, arrived),
    ...differing('answer', responseOf(serviceNamed(to)), response ?? 'none'),
  ];
}

/** The path that results from the sidecar's mode. */
export function expectationOf(
  { from, to }: Pick<Request, 'from' | 'to'>,
  { mode, decidedBy }: Pick<Outcome, 'mode' | 'decidedBy'>,
): Expectation {
  const [here, there] = [serviceNamed(from).datacenter, serviceNamed(to).datacenter];
  const gateways = new Map([
    ['local', [here, there]],
    ['remote', [there]],
  ]);
  return { mode, decidedBy, gateways: here === there ? [] : (gateways.get(mode) ?? []) };
}

/** For people: `secondary's gateway`. */
export function pathText(gateways: readonly Datacenter[]): string {
  if (gateways.length === 0) return 'direct, no gateway';
  if (gateways.join() === DATACENTERS.join()) return 'both gateways';
  return gateways.map((datacenter) => `${datacenter}'s gateway`).join(', ');
}

function differing(what: string, expected: string, found: string): readonly string[] {
  return expected === found ? [] : [`${what}: expected ${expected}, found ${found}`];
}
