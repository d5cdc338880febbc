import type { AdminClient } from '../admin/client.ts';
import { eventsIn } from './event-reader.ts';
import { reportedSize } from './terminal-size.ts';
import { afterKey, TopModel, topRoutes, topScreen } from './top-screen.ts';
import type { TopRoute, TopView } from './top-screen.ts';
import type { StatusView } from '../admin/status.ts';
import type { TrafficRates } from '../admin/traffic-rates.ts';

/** A terminal with output, and maybe input. */
export interface TopTerminal {
  readonly stdout: {
    readonly columns?: number;
    readonly rows?: number;
    write(text: string): unknown;
  };
  /** Absent without an interactive user. */
  readonly stdin?: KeyInput | undefined;
}

/** The part of standard input that is used. */
export interface KeyInput {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
  setEncoding(encoding: 'utf8'): unknown;
  on(event: 'data', listener: (keys: string) => void): unknown;
  off(event: 'data', listener: (keys: string) => void): unknown;
  pause(): unknown;
  resume(): unknown;
}

/** What `top` shows at one moment. */
export interface TopSnapshot {
  readonly status: StatusView;
  readonly traffic: Omit<TrafficRates, 'routes'>;
  readonly routes: readonly TopRoute[];
}

/** The traffic between two samples. Rejects when the gateway does not respond, or ends before. */
export async function topModel(gateway: AdminClient): Promise<TopModel> {
  const over = new AbortController();
  const model = new TopModel();
  try {
    for await (const event of eventsIn(gateway.stream('/events', over.signal))) {
      model.add(event);
      if (model.samples >= ENOUGH_SAMPLES && model.status !== undefined) return model;
    }
  } finally {
    over.abort();
  }
  throw new Error('the gateway has exited');
}

/** Rates are differences. */
const ENOUGH_SAMPLES = 2;

/** The JSON form. */
export function topSnapshot(model: TopModel, view: Pick<TopView, 'sort' | 'filter'>): TopSnapshot {
  const { status, traffic } = model;
  if (status === undefined || traffic === undefined) throw new Error('the gateway has exited');
  const { routes: _apart, ...rest } = traffic;
  return { status, traffic: rest, routes: topRoutes(model, view) };
}

/** Shows the traffic until the user types `q`, or the gateway exits, which rejects. Restores the terminal. */
export async function runTop(gateway: AdminClient, start: TopView, terminal: TopTerminal): Promise<void> {
  const { stdout, stdin } = terminal;
  const over = new AbortController();
  const model = new TopModel();
  let view = start;
  const draw = (): void => {
    const size = {
      columns: reportedSize(stdout.columns) ?? start.columns,
      rows: reportedSize(stdout.rows) ?? DEFAULT_ROWS,
    };
    const lines = topScreen(model, { ...view, ...size }, new Date()).map((line) => `${line}${CLEAR_LINE}`);
    stdout.write(`${HOME}${lines.join('\r\n')}${CLEAR_BELOW}`);
  };
  const type = (keys: string): void => {
    for (const key of keysIn(keys)) {
      const next = afterKey(view, key);
      if (next === undefined) return over.abort();
      view = next;
    }
    draw();
  };
  stdout.write(ENTER);
  stdin?.setRawMode?.(true);
  stdin?.setEncoding('utf8');
  stdin?.on('data', type);
  stdin?.resume();
  try {
    for await (const event of eventsIn(gateway.stream('/events', over.signal))) {
      model.add(event);
      if (event.event === 'traffic') draw();
    }
    throw new Error('the gateway has exited');
  } catch (reason) {
    if (!over.signal.aborted) throw reason;
  } finally {
    stdin?.off('data', type);
    stdin?.setRawMode?.(false);
    stdin?.pause();
    stdout.write(LEAVE_SCREEN);
  }
}

/** An escape sequence, such as an arrow key, is one key. */
function keysIn(text: string): readonly string[] {
  // oxlint-disable-next-line no-control-regex -- keys are what is looked for
  return text.match(/\u001B\[[\d;]*[A-Za-z~]|[\s\S]/gu) ?? [];
}

const DEFAULT_ROWS = 24;

// ECMA-48, and xterm's private modes for the alternate screen (1049) and the cursor (25).
const ENTER = '\u001B[?1049h\u001B[?25l';
const LEAVE_SCREEN = '\u001B[?25h\u001B[?1049l';
const HOME = '\u001B[H';
const CLEAR_LINE = '\u001B[K';
const CLEAR_BELOW = '\u001B[J';
