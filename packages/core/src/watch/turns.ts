import { setImmediate as nextTurn } from 'node:timers/promises';

// A connection that arrives meanwhile waits no longer than this: a tenth of what people notice.
const TURN_MS = 5;

/** Runs `steps` to their end in one go. */
export function atOnce<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** Runs `steps` to their end and returns their result, yielding the event loop after each 5 ms. */
export async function inTurns<T>(steps: Generator<unknown, T>): Promise<T> {
  let turnEndsAt = performance.now() + TURN_MS;
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (performance.now() < turnEndsAt) continue;
    await nextTurn();
    turnEndsAt = performance.now() + TURN_MS;
  }
}
