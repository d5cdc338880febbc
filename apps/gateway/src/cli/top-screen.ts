import type { StatusView } from '../admin/status.ts';
import type { RouteRates, TrafficRates } from '../admin/traffic-rates.ts';
import { printable } from '../log/printable.ts';
import { bytesText } from './amounts.ts';
import type { GatewayEvent } from './event-reader.ts';
import { headline } from './status-text.ts';

/** Sort orders of routes, each with its key. */
export const SORTS: Readonly<Record<Sort, { readonly key: string; readonly text: string }>> = {
  live: { key: 'l', text: 'live' },
  rate: { key: 'r', text: 'rate' },
  failed: { key: 'f', text: 'failed' },
  bytes: { key: 'b', text: 'bytes' },
  name: { key: 'n', text: 'name' },
};

/** Name of a sort order. */
export type Sort = 'live' | 'rate' | 'failed' | 'bytes' | 'name';

/** The data that the gateway has sent so far. */
export class TopModel {
  status: StatusView | undefined;
  traffic: TrafficRates | undefined;
  /** Number of traffic samples; rates are known from the second one on. */
  samples: number = 0;
  readonly routes: Map<string, RouteRates> = new Map();

  add(event: GatewayEvent): void {
    if (event.event === 'status') {
      this.status = event.data;
      return;
    }
    this.traffic = event.data;
    this.samples += 1;
    for (const [name, rates] of Object.entries(event.data.routes)) this.routes.set(name, rates);
  }
}

/** Settings of the display. */
export interface TopView {
  readonly sort: Sort;
  /** Substring of the names of displayed routes. */
  readonly filter: string;
  /** True while the user types the filter. */
  readonly isTyping: boolean;
  readonly isColored: boolean;
  readonly columns: number;
  /** Height of the terminal; when absent, all rows are shown. */
  readonly rows?: number;
}

/** A route in `top` and in its JSON output. */
export interface TopRoute extends RouteRates {
  readonly route: string;
}

/** Returns the routes to display, in order. Pure. */
export function topRoutes(
  { routes }: Pick<TopModel, 'routes'>,
  { sort, filter }: Pick<TopView, 'sort' | 'filter'>,
): readonly TopRoute[] {
  const wanted = filter.toLowerCase();
  const found = Array.from(routes, ([route, rates]) => ({ route, ...rates })).filter(
    (one) => shownName(one.route).toLowerCase().includes(wanted) && (one.route !== '' || hasTraffic(one)),
  );
  return found.sort((one, other) => weight(other, sort) - weight(one, sort) || (one.route < other.route ? -1 : 1));
}

function weight(route: TopRoute, sort: Sort): number {
  const weights: Record<Sort, number> = {
    live: route.active,
    rate: route.closedPerSecond,
    failed: route.failedPerSecond,
    bytes: route.bytesUpPerSecond + route.bytesDownPerSecond,
    name: 0,
  };
  return weights[sort];
}

/** Whether a route has traffic. The entry without a route counts every connection at its start. */
function hasTraffic({ active, closedPerSecond, errors }: RouteRates): boolean {
  return active > 0 || closedPerSecond > 0 || Object.keys(errors).length > 0;
}

/** Replaces the empty name, under which connections without a route are counted. */
function shownName(route: string): string {
  return route === '' ? '(no route)' : route;
}

/** Returns the lines of the screen, none wider than the terminal. Pure. */
export function topScreen(model: TopModel, view: TopView, now: Date): readonly string[] {
  const { status, traffic } = model;
  if (status === undefined || traffic === undefined) return ['waiting for the gateway'];
  const cut = (line: string): string => printable(line).slice(0, view.columns);
  const isLow = view.rows !== undefined && view.rows < LOW_ROWS;
  const head = [
    colored(cut(headline(status, now)), status.ready ? GREEN : RED, view),
    cut(summary(model, traffic)),
    ...[...status.reasons, ...status.warnings]
      .slice(0, isLow ? 1 : MAX_WARNINGS)
      .map((text) => colored(cut(`! ${text}`), YELLOW, view)),
    ...(isLow ? [] : ['']),
  ];
  const rows = topRoutes(model, view).map((route) => ({ route, line: cut(rowText(CELLS(route), view.columns)) }));
  const foot = footOf(view, isLow).map(cut);
  const room = view.rows === undefined ? rows.length : Math.max(0, view.rows - head.length - foot.length - 1);
  const shown = rows.slice(0, room);
  const lines = [
    ...head,
    bold(cut(rowText(HEADINGS, view.columns)), view),
    ...shown.map(({ route, line }) => (route.failedPerSecond > 0 ? colored(line, RED, view) : line)),
  ];
  return view.rows === undefined ? lines : [...lines.slice(0, Math.max(0, view.rows - foot.length)), ...foot];
}

/** Returns the last lines. A filter that the user types is shown on any terminal. */
function footOf(view: TopView, isLow: boolean): readonly string[] {
  if (view.rows === undefined) return [];
  if (isLow) return view.isTyping ? [helpText(view)] : [];
  return ['', helpText(view)];
}

/** A terminal with fewer rows gets no empty lines and no help. */
const LOW_ROWS = 12;
const MAX_WARNINGS = 3;

function summary({ routes }: TopModel, traffic: TrafficRates): string {
  const sum = (key: 'failedPerSecond' | 'bytesUpPerSecond' | 'bytesDownPerSecond'): number =>
    Array.from(routes.values()).reduce((total, one) => total + one[key], 0);
  return [
    `${traffic.connections} live`,
    `${rateText(traffic.acceptedPerSecond)}/s accepted`,
    `${rateText(traffic.refusedPerSecond)}/s refused`,
    `${rateText(sum('failedPerSecond'))}/s failed`,
    `${bytesText(sum('bytesUpPerSecond'))}/s up`,
    `${bytesText(sum('bytesDownPerSecond'))}/s down`,
  ].join('   ');
}

const HEADINGS = ['ROUTE', 'LIVE', 'RATE/s', 'FAILED/s', 'UP/s', 'DOWN/s', 'ERRORS SINCE START'];
const WIDTHS = [0, 7, 9, 9, 9, 9, 26];
const NUMERIC = [1, 2, 3, 4, 5];
const MIN_NAME_CHARS = 12;

const CELLS = ({ route, ...rates }: TopRoute): readonly string[] => [
  shownName(route),
  String(rates.active),
  rateText(rates.closedPerSecond),
  rateText(rates.failedPerSecond),
  bytesText(rates.bytesUpPerSecond),
  bytesText(rates.bytesDownPerSecond),
  errorsText(rates.errors),
];

function rowText(cells: readonly string[], columns: number): string {
  const others = WIDTHS.reduce((sum, width) => sum + width + 1, 0);
  const nameChars = Math.max(MIN_NAME_CHARS, Math.min(MAX_NAME_CHARS, columns - others));
  return cells
    .map((cell, column) => {
      const width = column === 0 ? nameChars : (WIDTHS[column] ?? 0);
      const text = printable(cell).slice(0, width);
      return NUMERIC.includes(column) ? text.padStart(width) : text.padEnd(width);
    })
    .join(' ')
    .trimEnd();
}

/** A wider column of names is hard to read across. */
const MAX_NAME_CHARS = 48;

/** Formats errors, the most frequent first. */
function errorsText(errors: RouteRates['errors']): string {
  const sorted = Object.entries(errors).toSorted(([, one], [, other]) => other - one);
  return sorted.map(([code, count]) => `${count} ${code}`).join(', ');
}

function rateText(perSecond: number): string {
  return Number.isInteger(perSecond) || perSecond >= 100 ? String(Math.round(perSecond)) : perSecond.toFixed(1);
}

function helpText({ sort, filter, isTyping }: TopView): string {
  if (isTyping) return `filter: ${filter}_   (Enter: keep, Esc: clear)`;
  const sorts = Object.entries(SORTS).map(([name, { key, text }]) => (name === sort ? `[${text}]` : `${key} ${text}`));
  return `sort: ${sorts.join('  ')}   / filter${filter === '' ? '' : ` (${filter})`}   q quit`;
}

const GREEN = 32;
const RED = 31;
const YELLOW = 33;

function colored(text: string, color: number, { isColored }: TopView): string {
  return isColored ? `\u001B[${color}m${text}\u001B[0m` : text;
}

function bold(text: string, { isColored }: TopView): string {
  return isColored ? `\u001B[1m${text}\u001B[0m` : text;
}

/** Applies a key to the view. Returns `undefined` when the key ends `top`. Pure. */
export function afterKey(view: TopView, key: string): TopView | undefined {
  if (key === '\u0003') return undefined;
  if (view.isTyping) return afterTyping(view, key);
  if (key === 'q') return undefined;
  if (key === '/') return { ...view, isTyping: true };
  if (key === ESCAPE) return { ...view, filter: '' };
  const sort = (Object.keys(SORTS) as Sort[]).find((name) => SORTS[name].key === key);
  return sort === undefined ? view : { ...view, sort };
}

const ESCAPE = '\u001B';

function afterTyping(view: TopView, key: string): TopView {
  if (key === '\r' || key === '\n') return { ...view, isTyping: false };
  if (key === ESCAPE) return { ...view, isTyping: false, filter: '' };
  if (key === '\u007F' || key === '\b') return { ...view, filter: view.filter.slice(0, -1) };
  return key.length === 1 && key >= ' ' ? { ...view, filter: view.filter + key } : view;
}
