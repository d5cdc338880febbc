import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';

/** The fields of a log line; one that is not JSON only has `text`. */
export type LogLine = Readonly<Record<string, unknown>>;

/** What to run. */
export interface ProgramOptions {
  /** For people: `gateway of primary`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** File for its output. */
  readonly logFile: string;
}

/** How long to wait for a line, and the error message on timeout. */
export interface LineWait {
  /** Number of lines to skip. By default none. */
  readonly from?: number;
  readonly what: string;
  readonly withinMs: number;
}

/**
 * A program that runs until it is stopped, in its own process group: Ctrl-C reaches it once, through us, and not also
 * from the terminal.
 */
export class Program {
  readonly name: string;
  readonly logFile: string;
  readonly lines: LogLine[] = [];
  /** Resolves when it has exited, with how it exited: `status 1`. */
  readonly ended: Promise<string>;
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();
  #end: string | undefined;

  constructor({ name, command, args, logFile }: ProgramOptions) {
    this.name = name;
    this.logFile = logFile;
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    this.#child = child;
    const log = createWriteStream(logFile);
    for (const output of [child.stdout, child.stderr])
      createInterface({ input: output }).on('line', (text) => {
        log.write(`${text}\n`);
        this.#add(text);
      });
    this.ended = howItEnds(child).then((end) => {
      log.end();
      this.#end = end;
      this.#notify();
      return end;
    });
  }

  /** `undefined` when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /**
   * The first line from index `from` on that `matches`.
   *
   * @param what the expected line, as a clause for the error message
   * @throws Error when the program exits, or on timeout
   */
  async line(matches: (line: LogLine) => boolean, { from = 0, what, withinMs }: LineWait): Promise<LogLine> {
    const endsAt = performance.now() + withinMs;
    for (;;) {
      const found = this.lines.slice(from).find(matches);
      if (found !== undefined) return found;
      if (this.#end !== undefined) throw new Error(this.complaint(this.#end));
      const remainingMs = endsAt - performance.now();
      if (remainingMs <= 0) throw new Error(`${this.name}: expected ${what} within ${withinMs} ms, found none`);
      await this.#change(remainingMs);
    }
  }

  /** For people: how it exited, and its last output. */
  complaint(end: string): string {
    const serious = this.lines.filter(isSerious);
    const last = (serious.length > 0 ? serious : this.lines).slice(-LAST_LINES).map(wordsOf);
    return [`${this.name} ended with ${end}; last output:`, ...last.map((text) => `  ${text}`)].join('\n');
  }

  /** Stops it, forcibly when it does not exit; resolves when it has exited. */
  async stop(): Promise<void> {
    const kill = (signal: NodeJS.Signals): void => void this.#child.kill(signal);
    kill('SIGTERM');
    const forced = setTimeout(() => kill('SIGTERM'), FORCE_AFTER_MS);
    const end = setTimeout(() => kill('SIGKILL'), KILL_MS);
    await this.ended;
    clearTimeout(forced);
    clearTimeout(end);
  }

  /** For an immediate exit. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #add(text: string): void {
    this.lines.push(fieldsOf(text));
    this.#notify();
  }

  #notify(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  /** New output, its exit, or a timeout. */
  async #change(withinMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#waiting.add(resolve);
      timer = setTimeout(resolve, withinMs);
    });
    clearTimeout(timer);
  }
}

// A gateway drains in little more than a second; one that still has a client is signalled again.
const FORCE_AFTER_MS = 3_000;
const KILL_MS = 6_000;
const LAST_LINES = 5;

async function howItEnds(child: ChildProcess): Promise<string> {
  try {
    const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    return status === null ? `signal ${signal}` : `status ${status}`;
  } catch (reason) {
    return `no start: ${reason instanceof Error ? reason.message : String(reason)}`;
  }
}

function fieldsOf(text: string): LogLine {
  if (!text.startsWith('{')) return { text };
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return { text };
  }
}

function isSerious({ level, text }: LogLine): boolean {
  if (typeof text === 'string') return /error|fail|==>/i.test(text);
  return level === 'fatal' || level === 'error' || level === 'warn';
}

/** Complete, or the first lines of it and then the rest. */
function wordsOf({ text, level, msg, ...fields }: LogLine): string {
  if (typeof text === 'string') return text.trim();
  const facts = Object.entries(fields).filter(([key]) => key !== 'time');
  return `${String(level)}: ${String(msg)}${facts.length === 0 ? '' : ` ${JSON.stringify(Object.fromEntries(facts))}`}`;
}
