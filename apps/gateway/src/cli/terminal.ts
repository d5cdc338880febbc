import type { Signals } from '../run/serve.ts';
import type { Environment } from './consul-flags.ts';
import { reportedSize } from './terminal-size.ts';
import type { Job, KeyInput } from './top.ts';

/** The environment of a command. */
export interface Terminal {
  readonly stdout: Output;
  readonly stderr: Pick<Output, 'write'>;
  /** Absent without an interactive user. */
  readonly stdin?: KeyInput;
  /** Absent when no user can stop the process. */
  readonly job?: Job;
  readonly signals: Signals;
  readonly env: Environment;
}

/** Standard output or standard error. */
export interface Output {
  readonly fd: number;
  readonly isTTY?: boolean;
  /** Size of the terminal in characters; 0 when not known. */
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
}

/** 0: success. 1: a failure at run time, or cut connections. 2: the command line or the configuration is invalid. */
export type ExitStatus = 0 | 1 | 2;

/** Returns the width of a terminal; `undefined` for files and pipes, which get one line per row. */
export function widthOf({ isTTY, columns }: Output): number | undefined {
  return isTTY === true ? reportedSize(columns) : undefined;
}

/**
 * Whether the terminal can move the cursor: the shell of an editor, the log of a build or a serial printer sets
 * `TERM=dumb`.
 */
export function hasScreen({ isTTY }: Output, env: Environment): boolean {
  return isTTY === true && env['TERM'] !== 'dumb';
}

/** Whether to use colours: only on terminals, unless `NO_COLOR` is set and not empty (no-color.org). */
export function hasColors(output: Output, env: Environment): boolean {
  return hasScreen(output, env) && (env['NO_COLOR'] ?? '') === '';
}
