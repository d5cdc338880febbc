import { setFlagsFromString } from 'node:v8';

/**
 * For the first line of a process that carries connections: how V8 is to collect its garbage.
 *
 * V8 makes objects old at once where it has seen that most of them grow old. In the first moments of traffic that is what it sees, in
 * half of all processes, and never looks again: from then on a third of all connections fills the old generation, which has to be
 * collected as a whole, for tens of milliseconds, every few thousand connections. Ours live for milliseconds or for hours, and the
 * second kind is too rare to be worth a guess.
 */
export function disablePretenuring(): void {
  setFlagsFromString('--no-allocation-site-pretenuring');
}
