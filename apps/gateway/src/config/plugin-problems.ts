import { ConfigProblems } from '@meshgate/core';
import type { Problem } from '@meshgate/core';

/**
 * Converts an error of a plugin to problems: our own, those of a schema library (`issues` of Standard Schema), or any
 * other error.
 *
 * @param what prefix for the message of any other error
 * @param at position at which it was thrown, if known
 */
export function problemsOf(reason: unknown, what: string, at?: string): readonly Problem[] {
  if (reason instanceof ConfigProblems) return reason.problems;
  const issues = typeof reason === 'object' && reason !== null && 'issues' in reason ? reason.issues : undefined;
  if (Array.isArray(issues) && issues.length > 0) return issues.map((issue: unknown) => toProblem(issue));
  const where = at === undefined ? '' : ` (at ${at})`;
  return [{ message: `${what}: ${reason instanceof Error ? reason.message : String(reason)}${where}`, path: [] }];
}

function toProblem(issue: unknown): Problem {
  const { message, path } = Object(issue) as { readonly message?: unknown; readonly path?: unknown };
  const parts: readonly unknown[] = Array.isArray(path) ? path : [];
  return {
    message: String(message),
    path: parts.map((part) => (typeof part === 'number' ? part : String(part))),
  };
}
