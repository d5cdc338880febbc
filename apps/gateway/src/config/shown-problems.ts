import { formatProblem } from '@meshgate/core';
import type { Problem } from '@meshgate/core';

/**
 * Limits the output: a file of another format may have a problem in each line, which would scroll the last lines away.
 */
const MAX_SHOWN = 100;

/** Returns the first of `lines`, and the number of the others. Pure. */
export function firstOf(lines: readonly string[]): readonly string[] {
  const more = lines.length - MAX_SHOWN;
  return more <= 0 ? lines : [...lines.slice(0, MAX_SHOWN), `and ${more} more`];
}

/** Formats the first problems of a configuration, one per line. Pure. */
export function problemLines(problems: readonly Problem[]): readonly string[] {
  return firstOf(problems.map(formatProblem));
}
