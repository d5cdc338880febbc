import { fileURLToPath } from 'node:url';
import { relative, sep } from 'node:path';

/**
 * Returns the position at which an error was thrown, as `FILE:LINE:COLUMN`: the innermost frame of its stack in
 * `folder`, except for packages installed below it.
 *
 * @returns `undefined` when the stack has no such frame
 */
export function codePosition(thrown: unknown, folder: string): string | undefined {
  const stack = thrown instanceof Error ? thrown.stack : undefined;
  if (typeof stack !== 'string') return undefined;
  for (const [, location = '', position = ''] of stack.matchAll(FRAME)) {
    const file = pathOf(location);
    const isOutside = file?.startsWith(folder + sep) !== true || file.slice(folder.length).includes('node_modules');
    if (!isOutside) return `${relative(folder, file)}:${position}`;
  }
  return undefined;
}

/** A stack frame names an ES module by URL, a CommonJS module by path. */
const FRAME = /^ +at (?:.*\()?((?:file:\/\/)?\/.*?):(\d+:\d+)\)?$/gm;

function pathOf(location: string): string | undefined {
  if (!location.startsWith('file:')) return location;
  try {
    return fileURLToPath(location);
  } catch {
    return undefined;
  }
}
