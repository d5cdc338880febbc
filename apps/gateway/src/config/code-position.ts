import { fileURLToPath } from 'node:url';
import { relative, sep } from 'node:path';

/**
 * Where an error was thrown, as `FILE:LINE:COLUMN`: the innermost place of its stack in `folder`, packages installed below
 * it excepted.
 *
 * @returns `undefined` when its stack has none
 */
export function codePosition(thrown: unknown, folder: string): string | undefined {
  const stack = thrown instanceof Error ? thrown.stack : undefined;
  if (typeof stack !== 'string') return undefined;
  for (const [, place = '', position = ''] of stack.matchAll(FRAME)) {
    const file = pathOf(place);
    const isOutside = file?.startsWith(folder + sep) !== true || file.slice(folder.length).includes('node_modules');
    if (!isOutside) return `${relative(folder, file)}:${position}`;
  }
  return undefined;
}

/** An ES module is a URL in a stack, a CommonJS one is a path. */
const FRAME = /^ +at (?:.*\()?((?:file:\/\/)?\/.*?):(\d+:\d+)\)?$/gm;

function pathOf(place: string): string | undefined {
  if (!place.startsWith('file:')) return place;
  try {
    return fileURLToPath(place);
  } catch {
    return undefined;
  }
}
