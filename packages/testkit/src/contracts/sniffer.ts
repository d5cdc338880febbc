import { describe, expect, it } from '../runner.ts';
import type { Hello, Sniffer, Verdict } from '@meshgate/core';
import { Random } from './random.ts';

/** The first bytes of a connection, and a sniffer's expected verdict. */
export interface SnifferSample {
  /** Names the test. */
  readonly name: string;
  /** Exactly the bytes needed for the verdict: no shorter prefix allows `hello` or `reject`. */
  readonly bytes: Uint8Array;
  /** The verdict on all of `bytes`. */
  readonly expected:
    /** `hello` has the expected fields; others may be present. */
    | { readonly kind: 'hello'; readonly hello: Partial<Hello> }
    | { readonly kind: 'pass' }
    | { readonly kind: 'reject' };
}

/**
 * Declares a suite that checks the contract of a sniffer: it requests more bytes exactly until it can decide, its
 * verdict depends neither on later bytes nor on how the bytes were split, passing progress back only saves work, it
 * neither modifies nor retains its input, and no bytes make it throw.
 *
 * @param samples at least one of each kind of verdict, above all protocols that it recognises
 */
export function describeSniffer(name: string, sniffer: Sniffer, samples: readonly SnifferSample[]): void {
  describe(`${name}, as a sniffer,`, () => {
    describe.each(samples)('of $name', (sample) => describeSample(sniffer, sample));

    it('never throws, whatever the bytes', () => {
      const random = new Random(1);
      for (let round = 0; round < ROUNDS; round += 1) judged(sniffer, random.bytes(1 + random.below(300)));
      for (const { bytes } of samples) {
        for (let round = 0; round < ROUNDS; round += 1) judged(sniffer, altered(new Uint8Array(bytes), random));
      }
    });
  });
}

function describeSample(sniffer: Sniffer, sample: SnifferSample): void {
  const { expected } = sample;
  // A copy: slices of Node's buffers share memory, and these must not.
  const bytes = new Uint8Array(sample.bytes);
  it(`returns ${expected.kind} once all of it is there`, () => {
    expect(sniffer.inspect(bytes)).toMatchObject(expected);
  });

  it('requests more for every prefix, unless that already has the same verdict', () => {
    for (let length = 1; length < bytes.length; length += 1) {
      const { kind } = sniffer.inspect(bytes.slice(0, length));
      const early = expected.kind === 'hello' ? [] : [expected.kind];
      expect(['more', ...early], `verdict on the first ${length} of ${bytes.length} bytes`).toContain(kind);
    }
  });

  it('has the same verdict when it arrives in pieces and progress is passed back', () => {
    const complete = sniffer.inspect(bytes);
    const random = new Random(2);
    for (const longest of [1, 2, 7, 64, bytes.length])
      expect(inPieces(sniffer, bytes, longest, random)).toEqual(complete);
  });

  it('has the same verdict whatever follows', () => {
    const complete = sniffer.inspect(bytes);
    for (const count of [1, 5, 1000]) {
      const followed = Buffer.concat([bytes, new Random(count).bytes(count)]);
      expect(sniffer.inspect(new Uint8Array(followed))).toEqual(complete);
    }
  });

  it('reads it in place, in the middle of a larger buffer', () => {
    const complete = sniffer.inspect(bytes);
    const larger = new Uint8Array(bytes.length + 200).fill(0xff);
    larger.set(bytes, 100);
    expect(sniffer.inspect(larger.subarray(100, 100 + bytes.length))).toEqual(complete);
  });

  it('neither modifies nor retains its input', () => {
    const complete = sniffer.inspect(bytes);
    const half = bytes.slice(0, bytes.length >> 1 || 1);
    const verdict = judged(sniffer, half);
    half.fill(0);
    expect(sniffer.inspect(bytes.slice(), progressOf(verdict))).toEqual(complete);
  });
}

// Enough to alter every field of a sample of a few hundred bytes; takes well under a second.
const ROUNDS = 2_000;

/** Calls the sniffer, and checks that it does not modify the bytes. */
function judged(sniffer: Sniffer, bytes: Uint8Array, progress?: unknown): Verdict {
  const copy = bytes.slice();
  const verdict = sniffer.inspect(bytes, progress);
  if (Buffer.compare(copy, bytes) !== 0) throw new Error('expected the head to be left as it was, found it changed');
  return verdict;
}

/** Calls the sniffer at each piece of `bytes`, with a copy, until the verdict is not `more`. */
function inPieces(sniffer: Sniffer, bytes: Uint8Array, longest: number, random: Random): Verdict {
  let verdict: Verdict = { kind: 'more' };
  let length = 0;
  for (const piece of random.pieces(bytes, longest)) {
    length += piece.length;
    verdict = judged(sniffer, bytes.slice(0, length), progressOf(verdict));
    if (verdict.kind !== 'more') return verdict;
  }
  return verdict;
}

function progressOf(verdict: Verdict): unknown {
  return verdict.kind === 'more' ? verdict.progress : undefined;
}

/** Overwrites a few bytes, and sometimes truncates them. */
function altered(bytes: Uint8Array, random: Random): Uint8Array {
  const copy = bytes.slice(0, random.below(4) === 0 ? 1 + random.below(bytes.length) : bytes.length);
  for (let count = 0; count <= random.below(4); count += 1) copy[random.below(copy.length)] = random.below(256);
  return copy;
}
