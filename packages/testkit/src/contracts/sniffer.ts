import { describe, expect, it } from '../runner.ts';
import type { Hello, Sniffer, Verdict } from '@meshgate/core';
import { Random } from './random.ts';

/** The first bytes of a connection, and what a sniffer should make of them. */
export interface SnifferSample {
  /** Names the test. */
  readonly name: string;
  /** All that is needed for the verdict and not a byte more: of every shorter part, `hello` and `reject` cannot be known yet. */
  readonly bytes: Uint8Array;
  /** The verdict on all of `bytes`. */
  readonly expected:
    /** `hello` names the fields that matter; others may be there. */
    | { readonly kind: 'hello'; readonly hello: Partial<Hello> }
    | { readonly kind: 'pass' }
    | { readonly kind: 'reject' };
}

/**
 * Declares a suite that proves that a sniffer keeps its promises: it asks for more until it can tell and not longer, what it has
 * decided stays so whatever follows and however the bytes came, handing its progress back changes nothing but the work, it
 * neither changes nor keeps what it is shown, and no bytes make it throw.
 *
 * @param samples at least one of each kind that the sniffer knows; those that it recognises matter most
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
  // Node's buffers share memory with their slices; these must not.
  const bytes = new Uint8Array(sample.bytes);
  it(`says ${expected.kind} once all of it is there`, () => {
    expect(sniffer.inspect(bytes)).toMatchObject(expected);
  });

  it('asks for more of every shorter part, unless that already decides in the same way', () => {
    for (let length = 1; length < bytes.length; length += 1) {
      const { kind } = sniffer.inspect(bytes.slice(0, length));
      const early = expected.kind === 'hello' ? [] : [expected.kind];
      expect(['more', ...early], `verdict on the first ${length} of ${bytes.length} bytes`).toContain(kind);
    }
  });

  it('says the same of it when it comes in pieces and progress is handed back', () => {
    const whole = sniffer.inspect(bytes);
    const random = new Random(2);
    for (const longest of [1, 2, 7, 64, bytes.length]) expect(inPieces(sniffer, bytes, longest, random)).toEqual(whole);
  });

  it('says the same of it whatever follows', () => {
    const whole = sniffer.inspect(bytes);
    for (const count of [1, 5, 1000]) {
      const followed = Buffer.concat([bytes, new Random(count).bytes(count)]);
      expect(sniffer.inspect(new Uint8Array(followed))).toEqual(whole);
    }
  });

  it('reads it where it is, in the midst of a larger buffer', () => {
    const whole = sniffer.inspect(bytes);
    const larger = new Uint8Array(bytes.length + 200).fill(0xff);
    larger.set(bytes, 100);
    expect(sniffer.inspect(larger.subarray(100, 100 + bytes.length))).toEqual(whole);
  });

  it('neither changes nor keeps what it is shown', () => {
    const whole = sniffer.inspect(bytes);
    const half = bytes.slice(0, bytes.length >> 1 || 1);
    const verdict = judged(sniffer, half);
    half.fill(0);
    expect(sniffer.inspect(bytes.slice(), progressOf(verdict))).toEqual(whole);
  });
}

// Enough to alter every field of a sample of a few hundred bytes; a sniffer does this in well under a second.
const ROUNDS = 2_000;

/** The verdict, having made sure that the bytes are as they were. */
function judged(sniffer: Sniffer, bytes: Uint8Array, progress?: unknown): Verdict {
  const copy = bytes.slice();
  const verdict = sniffer.inspect(bytes, progress);
  if (Buffer.compare(copy, bytes) !== 0) throw new Error('expected the head to be left as it was, found it changed');
  return verdict;
}

/** The verdict on `bytes` as they arrive: asked anew at each piece, with a copy, until it is not `more`. */
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

/** A few bytes set to something else, and perhaps the end cut off. */
function altered(bytes: Uint8Array, random: Random): Uint8Array {
  const copy = bytes.slice(0, random.below(4) === 0 ? 1 + random.below(bytes.length) : bytes.length);
  for (let count = 0; count <= random.below(4); count += 1) copy[random.below(copy.length)] = random.below(256);
  return copy;
}
