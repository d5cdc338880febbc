import type { Transport } from '@meshgate/core';
import type { Libc, SpliceMode, TurnLoop } from '@meshgate/linux';

/** A transport whose loop can be looked into. */
interface OpenKernel {
  readonly turns: TurnLoop;
  readonly transport: Transport;
}

/** Opens a transport over `libc`, with its own defaults beside `splice`. */
export type OpensKernel = (libc: Libc, splice: SpliceMode) => OpenKernel;

/** The ways of carrying bulk. */
export const VARIANTS: readonly SpliceMode[] = ['copy', 'splice'];
