import type { Service } from '@meshgate/core';

const TIMEOUT_MS = 2_000;

/** Announces this gateway to an inventory over HTTP, and removes it at the end. */
export function announce(inventory: URL, report: (warning: string | undefined) => void): Service {
  const notify = async (method: 'PUT' | 'DELETE', forced: AbortSignal): Promise<void> => {
    forced.throwIfAborted();
    const response = await fetch(inventory, { method, signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) throw new Error(`${method} ${inventory.href}: expected 200, found ${response.status}`);
  };
  return {
    name: 'announce',
    // The gateway carries connections even if the inventory does not know it.
    start: (signal) =>
      notify('PUT', signal).then(
        () => report(undefined),
        (reason: unknown) => report(String(reason)),
      ),
    drain: (signal) => notify('DELETE', signal),
    stop: () => Promise.resolve(),
  };
}
