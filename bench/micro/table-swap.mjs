// Replacing all of 100,000 routes while the event loop has other work: the duration, and the longest block of the event
// loop. Every turn is timed by its own immediates, so that nothing hides between two timer ticks.
import { RouteStore } from '../../packages/core/dist/parts.js';
import { manyRoutes, ROUTES } from './routes.mjs';

const SWAPS = 10;

// Created beforehand: only putting them into use is measured, not reading them.
const snapshots = Array.from({ length: SWAPS + 1 }, (_, generation) => manyRoutes(generation));
const replaced = [];
let onReplaced = () => undefined;

const store = new RouteStore({
  sources: [{ name: 'bench', watch }],
  observer: {
    observe(event) {
      if (event.type !== 'routes.replaced') return;
      replaced.push(event.tookMs);
      onReplaced();
    },
  },
});

let offer;
const stalls = [];
await store.start(new AbortController().signal);
const quietMs = await largestTurn(() => new Promise((resolve) => setTimeout(resolve, 200)));
for (const snapshot of snapshots.slice(1)) {
  stalls.push(
    await largestTurn(() => {
      const done = new Promise((resolve) => (onReplaced = resolve));
      offer(snapshot);
      return done;
    }),
  );
}
if (store.table.size !== ROUTES) throw new Error(`expected ${ROUTES} routes, found ${store.table.size}`);
console.log(
  JSON.stringify({
    swapMs: Math.max(...replaced.slice(1)),
    largestStallMs: Math.max(...stalls),
    largestTurnWithoutSwapMs: quietMs,
  }),
);
process.exit(0);

async function* watch() {
  yield snapshots[0];
  for (;;) yield await new Promise((resolve) => (offer = resolve));
}

/** The longest turn of the event loop while `work` runs, in milliseconds. */
async function largestTurn(work) {
  let largest = 0;
  let last = performance.now();
  let ticking = true;
  const tick = () => {
    const now = performance.now();
    largest = Math.max(largest, now - last);
    last = now;
    if (ticking) setImmediate(tick);
  };
  setImmediate(tick);
  await work();
  // The last turn counts, too.
  await new Promise((resolve) => setImmediate(resolve));
  ticking = false;
  return largest;
}
