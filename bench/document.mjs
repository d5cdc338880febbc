// The part of docs/performance.md that a run writes. Pure.
import { failures, judgements, othersShare, rows, single } from './comparison.mjs';
import { addedLines, goalLines, sharingLines } from './findings.mjs';
import { PATH_FIGURES } from './sidecar/figures.mjs';
import { cellsOf, markdown, times } from './table.mjs';

const BEGIN = '<!-- results: written by `pnpm bench --write-docs`, not by hand -->';
const END = '<!-- /results -->';

/**
 * `page` with its results replaced.
 *
 * @param {string} page
 * @param {import('./comparison.mjs').Results} results
 * @param {readonly import('./comparison.mjs').Results[]} [earlier] of other machines
 * @returns {string}
 * @throws Error if the page has no markers for them
 */
export function withResults(page, results, earlier = []) {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin === -1 || end < begin) throw new Error(`expected the lines ${BEGIN} and ${END}, found none`);
  return `${page.slice(0, begin + BEGIN.length)}\n\n${machinesText([results, ...earlier])}\n\n${page.slice(end)}`;
}

/** The last run first; with more than one machine, each has a section of its own, after a comparison. */
function machinesText(all) {
  if (all.length === 1) return resultsText(all[0]);
  const parts = all.map((results) => {
    const text = resultsText(results).replaceAll(/^###/gm, '####');
    return `### On ${machineName(results)}\n\n${text}`;
  });
  return [differencesText(all), ...parts].join('\n\n');
}

function machineName({ machine: { cpu, cores, kernel }, date }) {
  return `${cpu}, ${cores} cores, Linux ${kernel.split('-')[0]}, ${date.slice(0, 10)}`;
}

/** Ratios of the goals, side by side: the effect of another CPU or kernel. */
function differencesText(all) {
  const judged = all.map(judgements);
  const lines = (judged.find(({ length }) => length > 0) ?? []).map(({ title, ours, bound }, goal) => [
    title,
    ours,
    bound,
    ...judged.map((of) => (of[goal]?.ratio === undefined ? '–' : times(of[goal].ratio.median))),
  ]);
  const heading = ['figure', 'ours', 'goal', ...all.map(machineName)];
  return `### What differs between the machines\n\n${markdown([heading, ...lines])}`;
}

/**
 * @param {import('./comparison.mjs').Results} results
 * @returns {string} Markdown
 */
export function resultsText(results) {
  const { machine, settings, date, contestants } = results;
  const versions = contestants.map(({ label, family, version }) => (family === 'ours' ? label : `${label} ${version}`));
  const blocks = [
    `Measured on ${date.slice(0, 10)}: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB, ${machine.system}, ` +
      `kernel ${machine.kernel}, Node ${machine.node}; ${settings.rounds} rounds of ${settings.seconds} s.${othersText(results)}`,
    `Compared: ${versions.join(', ')}.${missingText(results)}`,
    '![Bars for each figure and proxy](../bench/results/latest.svg)',
    'Medians; in brackets the ratio to the best peer in its usual configuration, the median of the rounds and how far they differ.',
    markdown(cellsOf(rows(results), single(results))),
    ...goalsText(results),
    ...workersText(results),
    ...sidecarText(results),
    ...microText(results),
    ...reloadText(results),
    failuresText(results),
  ];
  return blocks.join('\n\n');
}

function othersText(results) {
  const share = othersShare(results);
  return share === undefined ? '' : ` Others used ${(share * 100).toFixed(0)} % of the machine's CPU meanwhile.`;
}

function missingText({ missing }) {
  return missing.length === 0
    ? ''
    : ` Not compared: ${missing.map(({ label, why }) => `${label} (${why})`).join(', ')}.`;
}

function goalsText(results) {
  const lines = goalLines(results);
  return lines.length === 0 ? [] : ['### Goals', markdown(lines)];
}

function workersText(results) {
  const lines = sharingLines(results);
  return lines.length === 0 ? [] : ['### Several workers', bullets(lines)];
}

function sidecarText({ sidecar }) {
  if (sidecar === undefined) return [];
  const heading = '### Two sidecars, and two gateways between them';
  const explained = 'In brackets the ratio to direct mutual TLS, round by round.';
  const table = markdown(cellsOf(rows(sidecar, PATH_FIGURES), sidecar.contestants));
  return [heading, explained, table, bullets(addedLines(sidecar))];
}

function bullets(lines) {
  return lines.map((line) => `- ${line}`).join('\n');
}

const MICRO_TITLES = {
  'route-lookup': 'A lookup among 100,000 routes',
  'client-hello': 'Parsing a ClientHello',
  'table-swap': 'Replacing all of 100,000 routes',
};
const MICRO_ROWS = {
  exactNs: 'exact name',
  suffixNs: 'by suffix',
  deepSuffixNs: 'by suffix, five labels before it',
  missNs: 'no route',
  usualNs: '517 bytes in one piece',
  largeInSegmentsNs: 'post-quantum key share, in TCP segments',
  smallRecordsNs: 'in records of 17 bytes',
  byteByByteNs: '517 bytes, one at a time',
  swapMs: 'until in use',
  largestStallMs: 'largest stall of the event loop meanwhile',
  largestTurnWithoutSwapMs: 'largest turn of the event loop without a swap',
};

function microText({ micro = {} }) {
  const lines = Object.entries(micro).flatMap(([name, values]) =>
    Object.entries(values).map(([key, value]) => [MICRO_TITLES[name], MICRO_ROWS[key], inUnit(key, value)]),
  );
  return lines.length === 0 ? [] : ['### Inside the process', markdown([['', '', 'time'], ...lines])];
}

function inUnit(key, value) {
  return key.endsWith('Ns') ? `${value.toFixed(0)} ns` : `${value.toFixed(1)} ms`;
}

function reloadText({ reload = {}, contestants }) {
  const lines = Object.entries(reload).flatMap(([id, { reloads, quiet, reloading }]) => {
    const label = contestants.find((contestant) => contestant.id === id)?.label ?? id;
    return [
      [label, 'routes stay', ...calmText(quiet)],
      [label, `replaced ${reloads} times`, ...calmText(reloading)],
    ];
  });
  const heading = ['', '10,000 routes', 'connections/s', 'p99', 'p99.9', 'slowest', 'failed'];
  return lines.length === 0 ? [] : ['### Reload under load', markdown([heading, ...lines])];
}

function calmText({ perSecond, p99Ms, p999Ms, maxMs, failed }) {
  return [perSecond.toFixed(0), ...[p99Ms, p999Ms, maxMs].map((ms) => `${ms.toFixed(1)} ms`), `${failed}`];
}

function failuresText(results) {
  const found = failures(results);
  if (found.length === 0) return 'No connection of any proxy failed, and none stalled.';
  const heading = ['', 'load', 'connections failed', 'bulk streams that stalled for a second'];
  const lines = found.map(({ contestant, load, failed, stalled }) => [contestant, load, `${failed}`, `${stalled}`]);
  return `### Failures\n\n${markdown([heading, ...lines])}`;
}
