import type { Progress, ProxyError, Transfer } from '@meshgate/core';

/** How a splice ended. Written out, case by case: spreading optional fields into a literal makes an object of a new shape each time. */
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
