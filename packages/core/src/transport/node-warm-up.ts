import { Socket } from 'node:net';

/**
 * Makes every socket of `node:net` that this process will have cheaper, on Node 20.
 *
 * `Socket` copies its options (`{ ...options }`) and adds some of its own to the copy. V8 before 12 gives a copy of options whose
 * shape it keeps in mind a hidden class to which no other can be linked: each property added makes a new class, for every
 * single socket, and each later look at the options misses its inline cache, which has never met that class. A connection had
 * six such classes and fifty misses, a seventh of all that it costs. Once V8 has met more shapes than it keeps in mind, it copies
 * property by property, and all copies share their classes.
 */
export function warmUpSockets(): void {
  if (Number.parseInt(process.versions.v8, 10) >= FIRST_V8_WITHOUT) return;
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let shape = 0; shape < SHAPES; shape += 1) new Socket({ [`shape${shape}`]: true }).destroy();
  }
}

/** Node 22 has V8 12.4. */
const FIRST_V8_WITHOUT = 12;

/** V8 keeps four in mind. */
const SHAPES = 8;

/** V8 keeps none in mind before the third. All of them together take some 2 ms, once. */
const ROUNDS = 8;
