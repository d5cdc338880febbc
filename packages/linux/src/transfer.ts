import type { Progress, ProxyError, Transfer } from '@meshgate/core';

/**
 * Returns the result of a splice. Case by case, since a spread of optional fields creates an object with a new hidden
 * class each time.
 */
export function transferOf(
  progress: Progress,
  firstByteAt: number | undefined,
  error: ProxyError | undefined,
): Transfer {
  const { bytesUp, bytesDown } = progress;
  if (error === undefined)
    return firstByteAt === undefined ? { bytesUp, bytesDown } : { bytesUp, bytesDown, firstByteAt };
  return firstByteAt === undefined ? { bytesUp, bytesDown, error } : { bytesUp, bytesDown, firstByteAt, error };
}
