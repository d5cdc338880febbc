import { pause } from '@meshgate/core';
import { pino } from 'pino';
import type { DestinationStream, Logger } from 'pino';
import type { LogSettings } from '../config/config-schema.ts';

export type { Logger } from 'pino';

/** The log of a process. */
export interface Log {
  readonly logger: Logger;
  /** Writes `fields` as a JSON line with nothing added; absent when people read the log. */
  readonly writeJson: ((fields: object) => void) | undefined;
  /** Resolves when everything written so far has been handed to the system, or its reader has not taken it in time. */
  flush(patienceMs: number): Promise<void>;
}

/** Where a log goes. */
export interface LogTarget {
  readonly fd: number;
  readonly isTerminal: boolean;
  /** Other processes write there as well: lines must not get mixed up. */
  readonly isShared?: boolean;
}

/** Opens the log as `settings` want it. With `auto`, a terminal gets lines for people and anything else JSON. Colours are for terminals. */
export async function openLog({ level, format }: LogSettings, target: LogTarget): Promise<Log> {
  const { fd, isTerminal, isShared = false } = target;
  const forPeople = format === 'pretty' || (format === 'auto' && isTerminal);
  const destination = pino.destination({
    dest: fd,
    sync: false,
    maxLength: MAX_BACKLOG_BYTES,
    ...(isShared && ATOMIC),
  });
  const stream: DestinationStream = forPeople ? await prettyStream(destination, isTerminal) : destination;
  const formatters = { level: (label: string) => ({ level: label }) };
  return {
    logger: pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters }, stream),
    writeJson: forPeople ? undefined : (fields) => void destination.write(`${JSON.stringify(fields)}\n`),
    flush: (patienceMs) => flush(destination, patienceMs),
  };
}

/** Writing waits for nobody: a reader that has stalled costs memory up to this, then lines, and never a connection. */
const MAX_BACKLOG_BYTES = 16 * 1024 * 1024;

/** What goes into a pipe at once stays in one piece: `PIPE_BUF` of Linux, pipe(7). Of files and terminals that holds anyway. */
const ATOMIC = { maxWrite: 4096 };

async function flush(destination: FlushableStream, patienceMs: number): Promise<void> {
  const over = new AbortController();
  const flushed = new Promise<void>((resolve) => destination.flush(() => resolve()));
  await Promise.race([flushed, pause(patienceMs, over.signal)]);
  over.abort();
}

interface FlushableStream {
  flush(callback: () => void): void;
}

/** Loaded only when it is needed: it takes longer than all the rest of a start. */
async function prettyStream(destination: DestinationStream, colorize: boolean): Promise<DestinationStream> {
  const { default: pretty } = await import('pino-pretty');
  return pretty({ colorize, destination, translateTime: 'SYS:HH:MM:ss.l', singleLine: true, sync: true });
}
