import { printable } from '../log/printable.ts';

/** Column layout. */
export interface ColumnOptions {
  /** Indentation of each line. */
  readonly indent?: string;
  /** Width of the terminal in characters; unlimited when absent. */
  readonly width?: number | undefined;
}

/**
 * Formats a table with columns as wide as their widest cell, two spaces apart. On a narrower terminal, the widest
 * columns shrink, and their cells wrap. Makes cells printable first, which makes them wider.
 */
export function columns(
  table: readonly (readonly string[])[],
  { indent = '', width = Infinity }: ColumnOptions = {},
): readonly string[] {
  const rows = table.map((row) => row.map(printable));
  const widest = (rows[0] ?? []).map((_, column) =>
    rows.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0),
  );
  const widths = fitted(widest, width - indent.length - GAP.length * (widest.length - 1));
  return rows.flatMap((row) => linesOf(row, widths).map((line) => `${indent}${line}`.trimEnd()));
}

const GAP = '  ';
/** A narrower column is unreadable. */
const MIN_WIDTH = 12;

/** Shrinks the widest columns, down to a readable width. */
function fitted(widths: readonly number[], total: number): readonly number[] {
  const fitting = [...widths];
  for (let excess = fitting.reduce((sum, each) => sum + each, 0) - total; excess > 0; excess -= 1) {
    const most = Math.max(...fitting);
    if (most <= MIN_WIDTH) break;
    fitting[fitting.indexOf(most)] = most - 1;
  }
  return fitting;
}

function linesOf(row: readonly string[], widths: readonly number[]): readonly string[] {
  const cells = row.map((cell, column) => wrapped(cell, widths[column] ?? 0));
  const height = Math.max(...cells.map(({ length }) => length));
  return Array.from({ length: height }, (_, line) =>
    cells.map((parts, column) => (parts[line] ?? '').padEnd(widths[column] ?? 0)).join(GAP),
  );
}

/** Wraps text at spaces, and within long words. */
function wrapped(cell: string, width: number): readonly string[] {
  if (cell.length <= width) return [cell];
  const parts: string[] = [];
  let line = '';
  for (const word of cell.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      parts.push(line);
      line = '';
    }
    line = line === '' ? word : `${line} ${word}`;
    for (; line.length > width; line = line.slice(width)) parts.push(line.slice(0, width));
  }
  return [...parts, line];
}
