// Whether a request went as it should. Pure: what is known goes in, what is wrong comes out.
import { answerOf } from './application.ts';
import { DATACENTERS, serviceNamed } from './picture.ts';
import type { Datacenter, Expectation, Request } from './picture.ts';

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

/** What is known of a request once it is over. */
export interface Outcome {
  readonly from: string;
  readonly to: string;
  readonly expected: Expectation;
  /** As the sidecar of the one who asks says. */
  readonly mode: string;
  /** The place that decided the mode, or what makes it needless. */
  readonly decidedBy: string;
  /** Whose gateways it passed, in this order, by the access logs. */
  readonly gateways: readonly Datacenter[];
  readonly hops: readonly Hop[];
  /** What the application at the other end answered; `undefined` when nothing came. */
  readonly answer: string | undefined;
}

/**
 * What is not as expected; empty when all is.
 *
 * @param counts the gateways whose counters have moved meanwhile
 */
export function problemsOf(outcome: Outcome, counts: readonly Datacenter[]): readonly string[] {
  const { expected, hops, answer, to, gateways } = outcome;
  const arrived = hops.at(-1)?.by ?? 'nowhere';
  return [
    ...differing('mode', expected.mode, outcome.mode),
    ...differing('decided by', expected.decidedBy, outcome.decidedBy),
    ...differing('path', pathText(expected.gateways), pathText(gateways)),
    ...differing('counters', pathText(DATACENTERS.filter((one) => gateways.includes(one))), pathText(counts)),
    ...differing('arrived at', `sidecar of ${to}`, arrived),
    ...differing('answer', answerOf(serviceNamed(to)), answer ?? 'none'),
  ];
}

/** What the mode that the sidecar says must lead to. */
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
