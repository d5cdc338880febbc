import type { Service } from '@meshgate/core';

const TIMEOUT_MS = 2_000;

/** Tells an inventory over HTTP that this gateway is there, and when it leaves. */
export function announce(inventory: URL, report: (warning: string | undefined) => void): Service {
  const tell = async (method: 'PUT' | 'DELETE', hurry: AbortSignal): Promise<void> => {
    hurry.throwIfAborted();
    const response = await fetch(inventory, { method, signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) throw new Error(`${method} ${inventory.href}: expected 200, found ${response.status}`);
  };
  return {
    name: 'announce',
    // Not being in the inventory is no reason not to carry connections.
    start: (signal) =>
      tell('PUT', signal).then(
        () => report(undefined),
        (reason: unknown) => report(String(reason)),
      ),
    drain: (signal) => tell('DELETE', signal),
    stop: () => Promise.resolve(),
  };
}
