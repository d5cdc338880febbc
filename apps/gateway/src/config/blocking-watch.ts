import { Worker } from 'node:worker_threads';

/** A watch that has not ended. */
export interface BlockingWatch {
  /** The work is done. */
  end(): void;
}

/**
 * Ends the process with `why` on standard error when the event loop is blocked until {@link BLOCKED_MS} from now: a loop without an
 * end can be stopped from another thread only, and the operator would wait without a word.
 */
export function watchForBlocking(why: string): BlockingWatch {
  const message = `meshgate: ${why} for ${BLOCKED_MS / 1_000} s\n`;
  const beats = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const watch = new Worker(THREAD, { eval: true, workerData: { message, beats, blockedMs: BLOCKED_MS } });
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
const { workerData: { message, beats, blockedMs } } = require('node:worker_threads');
let [before, missed] = [Atomics.load(beats, 0), 0];
setInterval(() => {
  const now = Atomics.load(beats, 0);
  missed = now === before ? missed + 1 : 0;
  before = now;
  if (missed < ${BEATS}) return;
  require('node:fs').writeSync(2, message);
  process.kill(process.pid, 'SIGKILL');
}, blockedMs / ${BEATS});
`;
