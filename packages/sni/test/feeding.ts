import { parseClientHello } from '../src/index.ts';
import type { ClientHelloVerdict } from '../src/index.ts';

/** The verdicts on `bytes` as they arrive `step` at a time, each call with the progress of the previous one. */
export function* arriving(bytes: Uint8Array, step: number): Generator<ClientHelloVerdict, void, void> {
  let progress: unknown;
  for (let length = step; length < bytes.length + step; length += step) {
    const verdict = parseClientHello(bytes.subarray(0, length), progress);
    yield verdict;
    if (verdict.kind !== 'more') return;
    progress = verdict.progress;
  }
}

/** The last of these verdicts. */
export function outcome(bytes: Uint8Array, step: number): ClientHelloVerdict {
  let last = parseClientHello(bytes.subarray(0, 0));
  for (const verdict of arriving(bytes, step)) last = verdict;
  return last;
}
