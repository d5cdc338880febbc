// Results as text: columns for a terminal, or a Markdown table. Pure.
import { format } from './comparison.mjs';

/**
 * @param {readonly import('./comparison.mjs').Row[]} rows
 * @param {readonly import('./comparison.mjs').Participant[]} contestants the columns
 * @returns {readonly (readonly string[])[]} a line per figure, after the header
 */
export function cellsOf(rows, contestants) {
  const heading = ['', ...contestants.map(({ label }) => label)];
  const lines = rows.map(({ figure, cells }) => [
    `${figure.title} (${figure.unit})`,
    ...contestants.map(({ id }) =>
      cellText(
        figure,
        cells.find(({ contestant }) => contestant.id === id),
      ),
    ),
  ]);
  return [heading, ...lines];
}

function cellText(figure, cell) {
  if (cell === undefined) return '–';
  const value = format(figure, cell.summary.median);
  if (cell.toBestPeer === undefined) return value;
  const rounds = spread(cell.toBestPeer);
  return `${value} (${times(cell.toBestPeer.median)}${rounds === '' ? '' : `, ${rounds}`})`;
}

/**
 * @param {import('./statistics.mjs').Summary} ratio
 * @returns {string} the lowest and the highest of the rounds; empty if they are equal
 */
export function spread({ min, max }) {
  const [from, to] = [min.toFixed(2), max.toFixed(2)];
  return from === to ? '' : `${from}–${to}`;
}

/** @param {number} ratio */
export function times(ratio) {
  return `${ratio.toFixed(2)}×`;
}

/**
 * Columns for a terminal: text to the left, numbers to the right.
 *
 * @param {readonly (readonly string[])[]} lines
 * @param {number} [words] number of columns with text, the first ones
 * @returns {string}
 */
export function columns(lines, words = 1) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines
    .map((line) =>
      line.map((text, column) => (column < words ? text.padEnd(widths[column]) : text.padStart(widths[column]))),
    )
    .map((line) => line.join('  ').trimEnd())
    .join('\n');
}

/**
 * @param {readonly (readonly string[])[]} lines
 * @returns {string}
 */
export function markdown(lines) {
  const [heading, ...others] = lines;
  const rule = heading.map((_, column) => (column === 0 ? '---' : '---:'));
  return [heading, rule, ...others].map((line) => `| ${line.join(' | ')} |`).join('\n');
}
