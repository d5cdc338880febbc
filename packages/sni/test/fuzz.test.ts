import { inRecords } from '@meshgate/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseClientHello } from '../src/index.ts';
import type { ClientHelloVerdict } from '../src/index.ts';
import { outcome } from './feeding.ts';
import { VARIETIES } from './varieties.ts';

// Chosen so that the file parses some 300,000 hellos in a few seconds.
const RUNS = 25_000;
const CUTS = 8;

const SIZES = [1, 2, 17, 512, 2 ** 14];

/** A change of one byte, at a position given as a fraction of the length. */
const change = fc.record({
  location: fc.noBias(fc.nat(9_999)).map((part) => part / 10_000),
  byte: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 22, 0x7f, 0x80, 0xff)),
});

/** A hello of any kind with some bytes changed, in records of any size, some of whose bytes are changed, too. */
const mutated = fc
  .record({
    message: fc.constantFrom(...VARIETIES.map(({ message }) => message)),
    size: fc.constantFrom(...SIZES),
    inMessage: fc.array(change, { minLength: 1, maxLength: 6 }),
    inRecords: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.array(change, { maxLength: 2 })),
  })
  .map((drawn) => changed(inRecords(changed(drawn.message, drawn.inMessage), drawn.size), drawn.inRecords));

/** Random bytes after a record header that makes them look like a hello. */
const garbage = fc
  .tuple(fc.uint8Array({ maxLength: 200 }), fc.constantFrom('', '16', '160301', '16030100', '160301004f0100004b0303'))
  .map(([bytes, start]) => new Uint8Array(Buffer.concat([Buffer.from(start, 'hex'), bytes])));

describe('whatever the bytes', () => {
  it('a changed hello has the same verdict at once and in pieces', () => {
    fc.assert(fc.property(mutated, fc.integer({ min: 1, max: 2000 }), judgesAlike), { numRuns: RUNS });
  });

  it('garbage has the same verdict at once and in pieces', () => {
    fc.assert(fc.property(garbage, fc.integer({ min: 1, max: 50 }), judgesAlike), { numRuns: RUNS / 2 });
  });

  it('a changed and truncated hello gets no verdict that more bytes would change', () => {
    fc.assert(fc.property(mutated, keepsItsVerdicts), { numRuns: RUNS / 2 });
  });
});

function changed(
  bytes: Uint8Array,
  changes: readonly { readonly location: number; readonly byte: number }[],
): Uint8Array {
  const copy = bytes.slice();
  for (const { location, byte } of changes) copy[Math.floor(location * copy.length)] = byte;
  return copy;
}

function judgesAlike(bytes: Uint8Array, step: number): void {
  const verdict = parseClientHello(bytes);
  expectSound(verdict, bytes);
  // Small steps through a long hello would take all of the run's time.
  const pieces = outcome(bytes, Math.max(step, Math.ceil(bytes.length / 20)));
  if (verdict.kind === 'more') expect(pieces.kind).toBe('more');
  else expect(pieces).toStrictEqual(verdict);
}

function keepsItsVerdicts(bytes: Uint8Array): void {
  let decided: ClientHelloVerdict | undefined;
  for (let cut = 1; cut <= CUTS; cut++) {
    const verdict = parseClientHello(bytes.subarray(0, Math.ceil((bytes.length * cut) / CUTS)));
    if (decided !== undefined) expect(verdict).toStrictEqual(decided);
    else if (verdict.kind !== 'more') decided = verdict;
  }
}

function expectSound(verdict: ClientHelloVerdict, bytes: Uint8Array): void {
  if (verdict.kind === 'reject') expect(verdict.detail).toMatch(/^[ -~]+$/);
  if (verdict.kind !== 'hello') return;
  expect(verdict.length).toBeLessThanOrEqual(bytes.length);
  expect(verdict.serverName ?? 'absent').toMatch(/^(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/);
}
