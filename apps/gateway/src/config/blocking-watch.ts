import { Worker } from 'node:worker_threads';

/** A watch that has not ended. */
export interface BlockingWatch {
  /** The work is done. */
  end(): void;
}

/**
 * Writes `why` to standard error once the event loop has been blocked for {@link BLOCKED_MS}. At a start it also kills the process: an
 * endless loop can only be stopped from another thread. A reload does not, since the process carries connections.
 */
export function watchForBlocking(why: string, during: 'start' | 'reload'): BlockingWatch {
  const message = `meshgate: ${why} for ${BLOCKED_MS / 1_000} s\n`;
  const beats = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const watch = new Worker(THREAD, {
    eval: true,
    workerData: { message, beats, blockedMs: BLOCKED_MS, kills: during === 'start' },
  });
  watch.unref();
  // Where no thread can be started, such as under a limit of processes, nobody watches.
  watch.on('error', () => undefined);
  const beat = setInterval(() => Atomics.add(beats, 0, 1), BLOCKED_MS / BEATS).unref();
  return {
    end() {
      clearInterval(beat);
      void watch.terminate();
    },
  };
}

/** Longer than any module takes to load on a busy machine. */
const BLOCKED_MS = 15_000;
const BEATS = 10;

/** In the thread: whether the counter has changed. */
const THREAD = `
const { workerData: { message, beats, blockedMs, kills } } = require('node:worker_threads');
let [before, missed] = [Atomics.load(beats, 0), 0];
setInterval(() => {
  const now = Atomics.load(beats, 0);
  missed = now === before ? missed + 1 : 0;
  before = now;
  if (missed !== ${BEATS}) return;
  require('node:fs').writeSync(2, message);
  if (kills) process.kill(process.pid, 'SIGKILL');
}, blockedMs / ${BEATS});
`;
