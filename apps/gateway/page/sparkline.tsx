import type { JSX } from 'preact';
import { SAMPLES } from './live.ts';
import type { History } from './live.ts';

/** Closed connections per second over the last minute, failed ones in another colour. The numbers are shown beside it. */
export function Sparkline({ history }: { readonly history: History | undefined }): JSX.Element {
  const { closed = [], failed = [] } = history ?? {};
  const most = Math.max(1, ...closed);
  return (
    <svg class="sparkline" viewBox={`0 0 ${SAMPLES} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      <path class="line" d={pathOf(closed, most)} />
      {failed.some((value) => value > 0) && <path class="line bad" d={pathOf(failed, most)} />}
    </svg>
  );
}

const HEIGHT = 20;

function pathOf(values: readonly number[], most: number): string {
  const from = SAMPLES - values.length;
  return values
    .map(
      (value, index) =>
        `${index === 0 ? 'M' : 'L'}${from + index + 0.5} ${(HEIGHT - 1 - (value / most) * (HEIGHT - 2)).toFixed(1)}`,
    )
    .join('');
}
