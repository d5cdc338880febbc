import { setFlagsFromString } from 'node:v8';

/**
 * Sets garbage collection flags of V8, in the first line of a process that carries connections.
 *
 * V8 allocates objects in the old generation where most of them have survived so far. In half of all processes the
 * first moments of traffic look like that, and V8 never re-evaluates: from then on a third of all connections fills the
 * old generation, whose collection takes tens of milliseconds every few thousand connections. Connections live for
 * milliseconds or for hours, and the latter are too rare to optimise for.
 */
export function disablePretenuring(): void {
  setFlagsFromString('--no-allocation-site-pretenuring');
}
