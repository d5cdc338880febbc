import { formatProblem } from '@meshgate/core';
import type { Problem } from '@meshgate/core';

/** A file of another kind may have a mistake in each of its lines: nobody reads more, and the last words would scroll away. */
const MAX_SHOWN = 100;

/** The first of `lines`, and how many more there are. Pure. */
export function firstOf(lines: readonly string[]): readonly string[] {
  const more = lines.length - MAX_SHOWN;
  return more <= 0 ? lines : [...lines.slice(0, MAX_SHOWN), `and ${more} more`];
}

/** Problems of a configuration for people, a line each: the first of them. Pure. */
export function problemLines(problems: readonly Problem[]): readonly string[] {
  return firstOf(problems.map(formatProblem));
}
