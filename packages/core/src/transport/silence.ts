import { formatDuration } from '../duration.ts';
import { ProxyError } from '../errors.ts';
import type { SpliceOptions } from './transport.ts';

type SilenceLimits = Pick<SpliceOptions, 'idleTimeoutMs' | 'halfCloseTimeoutMs'>;

/**
 * How long nothing may come from either side of a splice, in milliseconds; `Infinity`: for ever.
 *
 * @param halfClosed one side has finished sending
 */
export function longestSilenceMs({ idleTimeoutMs, halfCloseTimeoutMs }: SilenceLimits, halfClosed: boolean): number {
  return halfClosed ? Math.min(idleTimeoutMs, halfCloseTimeoutMs ?? Infinity) : idleTimeoutMs;
}

/** What a splice ends with that has been silent for so long. */
export function silenceError(limits: SilenceLimits, halfClosed: boolean): ProxyError {
  const limitMs = longestSilenceMs(limits, halfClosed);
  return limitMs < limits.idleTimeoutMs
    ? new ProxyError(
        'HALF_CLOSE_TIMEOUT',
        `one side has finished, the other sent no byte for ${formatDuration(limitMs)}`,
      )
    : new ProxyError('IDLE_TIMEOUT', `no byte either way for ${formatDuration(limitMs)}`);
}
