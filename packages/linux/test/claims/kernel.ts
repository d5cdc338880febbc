import type { Transport } from '@meshgate/core';
import type { Libc, SpliceMode, TurnLoop } from '@meshgate/linux';

/** A transport with access to its event loop. */
interface OpenKernel {
  readonly turns: TurnLoop;
  readonly transport: Transport;
}

/** Opens a transport with this `libc`, with its own defaults and `splice`. */
export type OpensKernel = (libc: Libc, splice: SpliceMode) => OpenKernel;

/** How bulk data is carried. */
export const VARIANTS: readonly SpliceMode[] = ['copy', 'splice'];
