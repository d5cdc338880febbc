import type { AdminClient } from '../admin/client.ts';
import { eventsIn } from './event-reader.ts';
import { reportedSize } from './terminal-size.ts';
import { afterKey, TopModel, topRoutes, topScreen } from './top-screen.ts';
import type { TopRoute, TopView } from './top-screen.ts';
import type { StatusView } from '../admin/status.ts';
import type { TrafficRates } from '../admin/traffic-rates.ts';

/** A terminal with output, and possibly input. */
export interface TopTerminal {
  readonly stdout: {
    readonly columns?: number;
    readonly rows?: number;
    write(text: string): unknown;
  };
  /** Absent without an interactive user. */
  readonly stdin?: KeyInput | undefined;
  /** Absent when no user can stop the process. */
  readonly job?: Job | undefined;
}

/** The process as a job of a shell, which leaves the screen and returns to it. */
export interface Job {
  /**
   * Calls `listener` when the process ends or its terminal is gone, by a signal, an uncaught error or an exit: the last
   * opportunity to write.
   */
  onEnd(listener: () => void): void;
  /**
   * Calls `listener` when the process continues after a stop, or the terminal has another size, so that the screen must
   * be drawn again.
   */
  onRedraw(listener: () => void): void;
  /** Stops the process like Ctrl-Z; returns when it continues. */
  suspend(): void;
}

/** The part of standard input in use. */
export interface KeyInput {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
  setEncoding(encoding: 'utf8'): unknown;
  on(event: 'data', listener: (keys: string) => void): unknown;
  on(event: 'end' | 'error', listener: () => void): unknown;
  off(event: 'data', listener: (keys: string) => void): unknown;
  pause(): unknown;
  resume(): unknown;
}

/** The state of `top` at one moment. */
export interface TopSnapshot {
  readonly status: StatusView;
  readonly traffic: Omit<TrafficRates, 'routes'>;
  readonly routes: readonly TopRoute[];
}

/**
 * Returns the traffic between two samples. Rejects when the gateway does not respond, or exits before the second one.
 */
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

/** Rates are differences between samples. */
const ENOUGH_SAMPLES = 2;

/** Returns the state in its JSON form. */
export function topSnapshot(model: TopModel, view: Pick<TopView, 'sort' | 'filter'>): TopSnapshot {
  const { status, traffic } = model;
  if (status === undefined || traffic === undefined) throw new Error('the gateway has exited');
  const { routes: _apart, ...rest } = traffic;
  return { status, traffic: rest, routes: topRoutes(model, view) };
}

/** Shows the traffic until the user types `q`, or the gateway exits, which rejects. Always restores the terminal. */
export async function runTop(gateway: AdminClient, start: TopView, terminal: TopTerminal): Promise<void> {
  const { stdout, job } = terminal;
  const over = new AbortController();
  const model = new TopModel();
  const screen = new Screen(terminal);
  let view = start;
  const draw = (): void => {
    const size = {
      columns: reportedSize(stdout.columns) ?? start.columns,
      rows: reportedSize(stdout.rows) ?? DEFAULT_ROWS,
    };
    screen.show(topScreen(model, { ...view, ...size }, new Date()));
  };
  const suspend = (): void => {
    screen.leave();
    job?.suspend();
    screen.enter();
  };
  const type = (keys: string): void => {
    for (const key of keysIn(keys)) {
      if (key === CTRL_Z) suspend();
      const next = afterKey(view, key);
      if (next === undefined) return over.abort();
      view = next;
    }
    draw();
  };
  const end = (): void => {
    screen.leave();
    over.abort();
  };
  job?.onEnd(end);
  job?.onRedraw(() => {
    if (over.signal.aborted) return;
    screen.enter();
    draw();
  });
  screen.listen(type, end);
  screen.enter();
  try {
    for await (const event of eventsIn(gateway.stream('/events', over.signal))) {
      model.add(event);
      if (event.event === 'traffic') draw();
    }
    throw new Error('the gateway has exited');
  } catch (reason) {
    if (!over.signal.aborted) throw reason;
  } finally {
    screen.leave();
    terminal.stdin?.off('data', type);
    terminal.stdin?.pause();
  }
}

/** The alternate screen, with the keyboard in raw mode. */
class Screen {
  readonly #terminal: TopTerminal;
  #isActive = false;

  constructor(terminal: TopTerminal) {
    this.#terminal = terminal;
  }

  /** @param onKeys receives keys; `onGone` is called when the keyboard is gone */
  listen(onKeys: (keys: string) => void, onGone: () => void): void {
    const { stdin } = this.#terminal;
    stdin?.setEncoding('utf8');
    stdin?.on('data', onKeys);
    stdin?.on('end', onGone);
    stdin?.on('error', onGone);
    stdin?.resume();
  }

  /**
   * Enters the alternate screen, also again after another program has used the terminal, whose shell has reset the mode
   * of the keyboard.
   */
  enter(): void {
    const { stdin, stdout } = this.#terminal;
    stdout.write(ENTER);
    if (this.#isActive) stdin?.setRawMode?.(false);
    stdin?.setRawMode?.(true);
    this.#isActive = true;
  }

  show(lines: readonly string[]): void {
    if (!this.#isActive) return;
    this.#terminal.stdout.write(`${HOME}${lines.map((line) => `${line}${CLEAR_LINE}`).join('\r\n')}${CLEAR_BELOW}`);
  }

  /** Leaves the alternate screen. May be called several times. */
  leave(): void {
    if (!this.#isActive) return;
    this.#isActive = false;
    this.#terminal.stdin?.setRawMode?.(false);
    this.#terminal.stdout.write(LEAVE_SCREEN);
  }
}

/** Splits input into keys. An escape sequence, such as an arrow key, is one key. */
function keysIn(text: string): readonly string[] {
  // oxlint-disable-next-line no-control-regex -- keys are what is looked for
  return text.match(/\u001B\[[\d;]*[A-Za-z~]|[\s\S]/gu) ?? [];
}

const DEFAULT_ROWS = 24;

const CTRL_Z = '\u001A';

// ECMA-48, and the private modes of xterm for the alternate screen (1049) and the cursor (25), and of DEC for wrapping
// (7): names may have characters that take two columns.
const ENTER = '\u001B[?1049h\u001B[?25l\u001B[?7l';
const LEAVE_SCREEN = '\u001B[?7h\u001B[?25h\u001B[?1049l';
const HOME = '\u001B[H';
const CLEAR_LINE = '\u001B[K';
const CLEAR_BELOW = '\u001B[J';
