/**
 * Resolves with the result of `promise`; rejects with a message about what was `expected` if that takes longer than
 * `timeoutMs`.
 */
export async function within<T>(promise: Promise<T>, timeoutMs: number, expected: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`expected ${expected} within ${timeoutMs} ms, found nothing`)),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Resolves once `holds`, which is polled; rejects with the message of `found` if that takes longer than `timeoutMs`.
 */
export async function eventually(holds: () => boolean, timeoutMs: number, found: () => string): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs;
  while (!holds()) {
    if (performance.now() > giveUpAt) throw new Error(`${found()}, even after ${timeoutMs} ms`);
    // Unreferenced, so that this timer does not count as a resource of the process.
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_AFTER_MS).unref());
  }
}

const LOOK_AGAIN_AFTER_MS = 10;
