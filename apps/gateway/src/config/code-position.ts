import { fileURLToPath } from 'node:url';
import { relative, sep } from 'node:path';

/**
 * Where an error was thrown, as `FILE:LINE:COLUMN`: the innermost frame of its stack in `folder`, packages installed below
 * it excepted.
 *
 * @returns `undefined` when its stack has none
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

/** An ES module is a URL in a stack, a CommonJS one is a path. */
const FRAME = /^ +at (?:.*\()?((?:file:\/\/)?\/.*?):(\d+:\d+)\)?$/gm;

function pathOf(location: string): string | undefined {
  if (!location.startsWith('file:')) return location;
  try {
    return fileURLToPath(location);
  } catch {
    return undefined;
  }
}
