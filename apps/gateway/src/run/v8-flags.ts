import { setFlagsFromString } from 'node:v8';

/**
 * Garbage collection flags of V8, set in the first line of a process that carries connections.
 *
 * V8 allocates objects in the old generation where it has seen that most of them survive. In half of all processes the
 * first moments of traffic look like that, and V8 never re-evaluates: from then on a third of all connections fills the
 * old generation, whose collection takes tens of milliseconds every few thousand connections. Connections live for
 * milliseconds or for hours, and the latter are too rare to optimize for.
 */
export function disablePretenuring(): void {
  setFlagsFromString('--no-allocation-site-pretenuring');
}
