import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** A fenced block of a page. */
export interface Block {
  /** The rest of its opening line. */
  readonly label: string;
  readonly text: string;
}

/** The content of a page; paths are relative to the root of the repository. */
export function pageText(page: string): string {
  return readFileSync(join(ROOT, page), 'utf8');
}

/** The fenced blocks whose opening line begins with `opening`. */
export function blocksIn(text: string, opening: string): readonly Block[] {
  const fences = text.matchAll(/^```(.*)\n([^]*?)^```$/gm);
  return Array.from(fences, ([, info = '', body = '']) => ({ info, body }))
    .filter(({ info }) => info.startsWith(`${opening} `))
    .map(({ info, body }) => ({ label: info.slice(opening.length + 1), text: body }));
}

/** Sections, each from a heading of level 2 or 3 to the next. */
export function sectionsIn(text: string): readonly string[] {
  return text.split(/^(?=#{2,3} )/m);
}

/** The cells of every table row, without header rows; a cell is the Markdown as written. */
export function rowsIn(text: string): readonly (readonly string[])[] {
  const tables = text.matchAll(/^\|.*\n\|[-| ]+\n((?:\|.*\n)+)/gm);
  const lines = Array.from(tables, ([, rows = '']) => rows.trimEnd().split('\n')).flat();
  return lines.map((line) => Array.from(line.slice(1, -1).split('|'), (cell) => cell.trim()));
}
