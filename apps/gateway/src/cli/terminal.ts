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
  /** Absent where nobody can stop the process. */
  readonly job?: Job;
  readonly signals: Signals;
  readonly env: Environment;
}

/** Standard output or standard error. */
export interface Output {
  readonly fd: number;
  readonly isTTY?: boolean;
  /** Width and height of a terminal; 0 when unknown. */
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
}

/** 0: done. 1: it failed at run time, or connections were cut. 2: the command line or the configuration is invalid. */
export type ExitStatus = 0 | 1 | 2;

/** The width of a terminal: files and pipes get one line per row. */
export function widthOf({ isTTY, columns }: Output): number | undefined {
  return isTTY === true ? reportedSize(columns) : undefined;
}

/** Whether it can move the cursor: an editor's shell, a log of a build and a serial printer say that they cannot. */
export function hasScreen({ isTTY }: Output, env: Environment): boolean {
  return isTTY === true && env['TERM'] !== 'dumb';
}

/** Colours only on terminals, unless `NO_COLOR` is set and not empty (no-color.org). */
export function hasColors(output: Output, env: Environment): boolean {
  return hasScreen(output, env) && (env['NO_COLOR'] ?? '') === '';
}
