import { setImmediate as nextTurn } from 'node:timers/promises';

// The delay of a connection that arrives in the meantime: a tenth of what people notice.
const TURN_MS = 5;

/** Runs `steps` to the end, without yielding to the event loop. */
export function atOnce<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** Runs `steps` to the end and returns their result, yielding to the event loop every 5 ms. */
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
