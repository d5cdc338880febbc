import { formatDuration } from '../duration.ts';
import { ProxyError } from '../errors.ts';
import type { SpliceOptions } from './transport.ts';

type SilenceLimits = Pick<SpliceOptions, 'idleTimeoutMs' | 'halfCloseTimeoutMs'>;

/**
 * Returns the timeout for a splice without a byte from either side, in milliseconds; `Infinity`: none.
 *
 * @param halfClosed whether one side has finished sending
 */
export function longestSilenceMs({ idleTimeoutMs, halfCloseTimeoutMs }: SilenceLimits, halfClosed: boolean): number {
  return halfClosed ? Math.min(idleTimeoutMs, halfCloseTimeoutMs ?? Infinity) : idleTimeoutMs;
}

/** Returns the error of a splice that exceeded this timeout. */
export function silenceError(limits: SilenceLimits, halfClosed: boolean): ProxyError {
  const limitMs = longestSilenceMs(limits, halfClosed);
  return limitMs < limits.idleTimeoutMs
    ? new ProxyError(
        'HALF_CLOSE_TIMEOUT',
        `one side has finished, the other sent no byte for ${formatDuration(limitMs)}`,
      )
    : new ProxyError('IDLE_TIMEOUT', `no byte either way for ${formatDuration(limitMs)}`);
}
