import type { Signals } from '../run/serve.ts';
import type { Environment } from './consul-flags.ts';
import { reportedSize } from './terminal-size.ts';
import type { KeyInput } from './top.ts';

/** The environment of a command. */
export interface Terminal {
  readonly stdout: Output;
  readonly stderr: Pick<Output, 'write'>;
  /** Absent without an interactive user. */
  readonly stdin?: KeyInput;
  readonly signals: Signals;
  readonly env: Environment;
}

/** Standard output or standard error. */
export interface Output {
  readonly fd: number;
  readonly isTTY?: boolean;
  /** Width and height of a terminal; 0 when it does not know them. */
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
}

/** 0: done. 1: it failed at run time, or connections were cut. 2: the command line or the configuration is invalid. */
export type ExitStatus = 0 | 1 | 2;

/** Of a terminal: whoever reads a file or a pipe wants a line a row. */
export function widthOf({ isTTY, columns }: Output): number | undefined {
  return isTTY === true ? reportedSize(columns) : undefined;
}
