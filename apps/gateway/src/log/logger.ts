import { pino } from 'pino';
import type { DestinationStream, Logger } from 'pino';
import type { LogLevel, LogSettings } from '../config/config-schema.ts';
import { LogWriter, nonBlocking } from './log-writer.ts';
import type { LogHealth } from './log-writer.ts';
import { logMessage } from './messages.ts';
import { printable, printableJson, withoutControls } from './printable.ts';

export type { Logger } from 'pino';

/** The log of a process. */
export interface Log {
  readonly logger: Logger;
  /** Writes `fields` as a JSON line with nothing added; absent when people read the log. */
  readonly writeJson: ((fields: object) => void) | undefined;
  readonly health: LogHealth;
  /** Resolves when everything written so far has been handed to the system, or that has failed, or after `patienceMs`. */
  flush(patienceMs: number): Promise<void>;
  /** Whether a write has not come back from the system: the process cannot exit by itself before it does. */
  readonly isWriting: boolean;
}

/** Before the process exits: writes what can still be written, within a second. */
export async function closeLog(log: Pick<Log, 'flush' | 'isWriting'>): Promise<void> {
  await log.flush(FLUSH_PATIENCE_MS);
  // Node waits for the threads of its pool before it exits: for one whose write blocks, as that to a terminal that was stopped, for ever.
  if (log.isWriting) process.kill(process.pid, 'SIGKILL');
}

/** Its reader may have stalled, or be gone. */
const FLUSH_PATIENCE_MS = 1_000;

/** The same log, through a child of its logger. */
export function withLogger(log: Log, logger: Logger): Log {
  return {
    logger,
    writeJson: log.writeJson,
    flush: (patienceMs) => log.flush(patienceMs),
    get health() {
      return log.health;
    },
    get isWriting() {
      return log.isWriting;
    },
  };
}

/** The level of `logger`, to be shown and changed. */
export function logLevelOf(logger: Logger): { readonly current: string; set(level: LogLevel): void } {
  return {
    get current() {
      return logger.level;
    },
    set: (level) => void (logger.level = level),
  };
}

/** Where a log goes. */
export interface LogTarget {
  readonly fd: number;
  readonly isTerminal: boolean;
  /** Colours for people; absent: on a terminal. */
  readonly hasColors?: boolean;
  /** Other processes write there as well: lines must not get mixed up. */
  readonly isShared?: boolean;
  /** Called when `health.trouble` has appeared, changed or gone. */
  onTrouble?(): void;
}

/** Opens the log as `settings` want it. With `auto`, a terminal gets lines for people and anything else JSON. Colours are for terminals. */
export async function openLog({ level, format }: LogSettings, target: LogTarget): Promise<Log> {
  const { fd, isTerminal, hasColors = isTerminal, isShared = false, onTrouble } = target;
  const forPeople = format === 'pretty' || (format === 'auto' && isTerminal);
  const writer = new LogWriter({
    fd: nonBlocking(fd),
    ...(isShared && ATOMIC),
    onRecovered: (dropped, reason) =>
      logMessage(logger, 'linesDropped', { dropped: String(dropped), reason }, { dropped }),
    ...(onTrouble !== undefined && { onTrouble }),
  });
  const stream = forPeople ? await prettyStream(writer, hasColors) : jsonStream(writer);
  const formatters = { level: (label: string) => ({ level: label }) };
  const logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters }, stream);
  return {
    logger,
    writeJson: forPeople ? undefined : (fields) => writer.write(`${printableJson(JSON.stringify(fields))}\n`),
    flush: (patienceMs) => writer.flush(patienceMs),
    get health() {
      return writer.health;
    },
    get isWriting() {
      return writer.isWriting;
    },
  };
}

/** What goes into a pipe at once stays in one piece: `PIPE_BUF` of Linux, pipe(7). Of files and terminals that holds anyway. */
const ATOMIC = { maxWriteBytes: 4096 };

function jsonStream(destination: DestinationStream): DestinationStream {
  return { write: (line) => destination.write(printableJson(line)) };
}

/** Loaded only when it is needed: it takes longer than all the rest of a start. */
async function prettyStream(destination: DestinationStream, colorize: boolean): Promise<DestinationStream> {
  const { prettyFactory } = await import('pino-pretty');
  const messageFormat = (line: Record<string, unknown>, key: string): string => printable(String(line[key]));
  const prettify = prettyFactory({ colorize, messageFormat, translateTime: 'SYS:HH:MM:ss.l', singleLine: true });
  return { write: (line) => destination.write(prettify(withoutControls(line))) };
}
