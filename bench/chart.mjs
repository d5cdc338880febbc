// Results as a picture: a panel per plotted figure, a bar per contestant, its rounds as a thin line. Pure.
import { format, othersShare } from './comparison.mjs';
import { times } from './table.mjs';

const COLOURS = { peer: '#8b98a9', tuned: '#5b6a7f', reference: '#c9ced6', ours: '#0f8b8d', oursNode: '#7cc4bd' };
const INK = '#1f2937';
const FAINT = '#6b7280';
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

const MARGIN = 32;
const GAP = 24;
const COLUMNS = 2;
const PANEL_WIDTH = 600;
const PANEL_PADDING = 18;
const PANEL_HEADING = 52;
const ROW_HEIGHT = 26;
const BAR_HEIGHT = 15;
const LABEL_WIDTH = 168;
// Space to the right of the longest bar for its number and ratio.
const VALUE_WIDTH = 132;
const HEADING = 124;

/**
 * @param {import('./comparison.mjs').Results} results
 * @param {readonly import('./comparison.mjs').Row[]} rows
 * @returns {string} an SVG document
 */
export function chart(results, rows) {
  const plotted = rows.filter(({ figure }) => figure.plotted === true);
  const height = Math.max(0, ...plotted.map(panelHeight));
  const lines = Math.ceil(plotted.length / COLUMNS);
  const width = 2 * MARGIN + COLUMNS * PANEL_WIDTH + (COLUMNS - 1) * GAP;
  const total = HEADING + lines * (height + GAP) + MARGIN - GAP;
  const panels = plotted.map((row, index) => {
    const x = MARGIN + (index % COLUMNS) * (PANEL_WIDTH + GAP);
    const y = HEADING + Math.floor(index / COLUMNS) * (height + GAP);
    return `<g transform="translate(${x} ${y})">${panel(row, height)}</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${total}" viewBox="0 0 ${width} ${total}" font-family="${FONT}">`,
    `<rect width="${width}" height="${total}" fill="#f3f4f6"/>`,
    heading(results, width),
    ...panels,
    '</svg>',
    '',
  ].join('\n');
}

function heading(results, width) {
  const { machine, date, settings } = results;
  const about = `${machine.cpu}, ${machine.cores} cores · Linux ${machine.kernel} · Node ${machine.node} · ${date.slice(0, 10)}${disturbance(results)}`;
  const rounds = `${settings.rounds} interleaved ${settings.rounds === 1 ? 'round' : 'rounds'}`;
  const how =
    `Medians of ${rounds} of ${settings.seconds} s; one thread for each proxy that does not say otherwise; ` +
    'generator and sinks on the same machine.';
  const key = 'Thin lines: the lowest and the highest round. ×: ratio to the best peer in its usual configuration.';
  return [
    text(MARGIN, 44, 'Meshgate beside other SNI proxies', { size: 24, weight: 700 }),
    text(MARGIN, 68, about, { size: 13, fill: FAINT }),
    text(MARGIN, 87, how, { size: 13, fill: FAINT }),
    text(MARGIN, 106, key, { size: 13, fill: FAINT }),
    legend(width),
  ].join('\n');
}

/** A note for those who only see the picture: the machine was busy. */
function disturbance(results) {
  const share = othersShare(results);
  return share === undefined ? '' : ` · others used ${(share * 100).toFixed(0)} % of the CPU`;
}

const LEGEND = [
  [COLOURS.ours, 'Meshgate, epoll'],
  [COLOURS.oursNode, 'Meshgate, node'],
  [COLOURS.peer, 'peer'],
  [COLOURS.tuned, 'peer, tuned'],
  [COLOURS.reference, 'reference'],
];
// Wide enough for the longest of them.
const LEGEND_WIDTH = 130;

function legend(width) {
  const start = width - MARGIN - LEGEND.length * LEGEND_WIDTH;
  return LEGEND.map(([colour, label], index) => {
    const x = start + index * LEGEND_WIDTH;
    return `<rect x="${x}" y="33" width="12" height="12" rx="2" fill="${colour}"/>${text(x + 18, 43, label, { size: 12 })}`;
  }).join('');
}

function panelHeight({ cells }) {
  return PANEL_HEADING + cells.length * ROW_HEIGHT + PANEL_PADDING;
}

function panel({ figure, cells, bestPeer }, height) {
  const largest = Math.max(...cells.map(({ summary }) => summary.max), Number.MIN_VALUE);
  const scale = (PANEL_WIDTH - 2 * PANEL_PADDING - LABEL_WIDTH - VALUE_WIDTH) / largest;
  const better = figure.better === 'more' ? 'more is better' : 'less is better';
  return [
    `<rect width="${PANEL_WIDTH}" height="${height}" rx="10" fill="#ffffff" stroke="#e5e7eb"/>`,
    text(PANEL_PADDING, 29, figure.title, { size: 15, weight: 600 }),
    text(PANEL_WIDTH - PANEL_PADDING, 29, `${figure.unit}, ${better}`, { size: 12, fill: FAINT, anchor: 'end' }),
    ...cells.map((cell, index) => bar(figure, cell, PANEL_HEADING + index * ROW_HEIGHT, scale, bestPeer)),
  ].join('\n');
}

function bar(figure, { contestant, summary, toBestPeer }, y, scale, bestPeer) {
  const x = PANEL_PADDING + LABEL_WIDTH;
  const middle = y + BAR_HEIGHT / 2;
  const [from, to] = [x + summary.min * scale, x + summary.max * scale];
  const ratio =
    toBestPeer === undefined ? '' : ` <tspan fill="${FAINT}" font-weight="400">${times(toBestPeer.median)}</tspan>`;
  const weight = contestant.family === 'ours' || contestant.id === bestPeer ? 600 : 400;
  return [
    text(x - 10, middle + 4.5, escaped(contestant.label), { size: 12.5, anchor: 'end', weight }),
    `<rect x="${x}" y="${y}" width="${round(Math.max(1, summary.median * scale))}" height="${BAR_HEIGHT}" rx="2" fill="${colourOf(contestant)}"/>`,
    `<path d="M${round(from)} ${middle}H${round(to)}" stroke="${INK}" stroke-width="1.2" opacity="0.75"/>`,
    text(to + 8, middle + 4.5, `${format(figure, summary.median)}${ratio}`, { size: 12.5, weight }),
  ].join('');
}

function colourOf({ family, transport }) {
  return family === 'ours' && transport === 'node' ? COLOURS.oursNode : COLOURS[family];
}

function text(x, y, content, { size, weight = 400, fill = INK, anchor = 'start' }) {
  return `<text x="${round(x)}" y="${round(y)}" font-size="${size}" font-weight="${weight}" fill="${fill}" text-anchor="${anchor}">${content}</text>`;
}

function round(value) {
  return Math.round(value * 10) / 10;
}

function escaped(label) {
  return label.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
