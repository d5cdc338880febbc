import { pino } from 'pino';
import type { DestinationStream, Logger } from 'pino';
import type { LogLevel, LogSettings } from '../config/config-schema.ts';
import { closeLostTerminals, LogWriter, ownDescriptor } from './log-writer.ts';
import type { LogHealth } from './log-writer.ts';
import { logMessage } from './messages.ts';
import { printable, printableJson, withoutControls } from './printable.ts';

export type { Logger } from 'pino';

/** The log of a process. */
export interface Log {
  readonly logger: Logger;
  /** Writes `fields` as a JSON line without additions; absent while the format is `pretty`. */
  readonly writeJson: ((fields: object) => void) | undefined;
  readonly health: LogHealth;
  /** Loads the modules of `format`. The returned function switches to the format. */
  prepareFormat(format: LogSettings['format']): Promise<() => void>;
  /** Resolves when all previous lines are written or have failed, or after `patienceMs`. */
  flush(patienceMs: number): Promise<void>;
  /** Whether a system call is in progress: the process cannot exit normally before it returns. */
  readonly isWriting: boolean;
}

/** Writes the remaining lines before the process exits, within a second. */
export async function closeLog(log: Pick<Log, 'flush' | 'isWriting'>): Promise<void> {
  await log.flush(FLUSH_PATIENCE_MS);
  // Node waits for its thread pool before it exits: forever, if a write blocks, as to a stopped terminal.
  if (log.isWriting) process.kill(process.pid, 'SIGKILL');
  closeLostTerminals();
}

/** Limit for a reader that has stalled. */
const FLUSH_PATIENCE_MS = 1_000;

/** Returns the same log with a child of its logger. */
export function withLogger(log: Log, logger: Logger): Log {
  return {
    logger,
    get writeJson() {
      return log.writeJson;
    },
    prepareFormat: (format) => log.prepareFormat(format),
    flush: (patienceMs) => log.flush(patienceMs),
    get health() {
      return log.health;
    },
    get isWriting() {
      return log.isWriting;
    },
  };
}

/** Returns access to the level of `logger`. */
export function logLevelOf(logger: Logger): { readonly current: string; set(level: LogLevel): void } {
  return {
    get current() {
      return logger.level;
    },
    set: (level) => void (logger.level = level),
  };
}

/** Destination of a log. */
export interface LogTarget {
  readonly fd: number;
  readonly isTerminal: boolean;
  /** Whether to use colours in format `pretty`; when absent, only on a terminal. */
  readonly hasColors?: boolean;
  /** Other processes write to the same destination: their lines must not be interleaved. */
  readonly isShared?: boolean;
  /** Called when `health.trouble` appears, changes or clears. */
  onTrouble?(): void;
}

/** Opens the log. Format `auto` is `pretty` on a terminal, else JSON. Only terminals get colours. */
export async function openLog({ level, format }: LogSettings, target: LogTarget): Promise<Log> {
  const { fd, isTerminal, hasColors = isTerminal, isShared = false, onTrouble } = target;
  const writer = new LogWriter({
    fd: ownDescriptor(fd),
    ...(isShared && ATOMIC),
    onRecovered: (dropped, reason) =>
      logMessage(logger, 'linesDropped', { dropped: String(dropped), reason }, { dropped }),
    ...(onTrouble !== undefined && { onTrouble }),
  });
  const streamFor = async (wanted: LogSettings['format']): Promise<LogStream> => {
    const forPeople = wanted === 'pretty' || (wanted === 'auto' && isTerminal);
    return { forPeople, write: forPeople ? await prettyWrite(writer, hasColors) : jsonWrite(writer) };
  };
  let current = await streamFor(format);
  const formatters = { level: (label: string) => ({ level: label }) };
  const logger = pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters },
    { write: (line) => current.write(line) },
  );
  const writeJson = (fields: object): void => writer.write(`${printableJson(JSON.stringify(fields))}\n`);
  return {
    logger,
    get writeJson() {
      return current.forPeople ? undefined : writeJson;
    },
    prepareFormat: async (wanted) => {
      const next = await streamFor(wanted);
      return () => void (current = next);
    },
    flush: (patienceMs) => writer.flush(patienceMs),
    get health() {
      return writer.health;
    },
    get isWriting() {
      return writer.isWriting;
    },
  };
}

/** Size up to which writes to a pipe are atomic: `PIPE_BUF` of Linux, pipe(7). Files and terminals have no limit. */
const ATOMIC = { maxWriteBytes: 4096 };

/** A stream for one format of lines. */
interface LogStream extends DestinationStream {
  readonly forPeople: boolean;
}

function jsonWrite(destination: DestinationStream): LogStream['write'] {
  return (line) => destination.write(printableJson(line));
}

/** Loaded on demand, since loading takes longer than the rest of a start. */
async function prettyWrite(destination: DestinationStream, colorize: boolean): Promise<LogStream['write']> {
  const { prettyFactory } = await import('pino-pretty');
  const messageFormat = (line: Record<string, unknown>, key: string): string => printable(String(line[key]));
  const prettify = prettyFactory({ colorize, messageFormat, translateTime: 'SYS:HH:MM:ss.l', singleLine: true });
  return (line) => destination.write(prettify(withoutControls(line)));
}
