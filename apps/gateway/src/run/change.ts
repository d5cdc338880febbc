import type { PreparedChange } from '@meshgate/core/parts';
import type { LiveSetting } from './setting-effects.ts';

/** Prepares one part of a change. Rejects when the part cannot be applied; nothing changes then. */
export type Preparing = () => Promise<PreparedChange>;

/** Combines the preparations of all reloadable settings, in this order. */
export function changed(settings: Readonly<Record<LiveSetting, Preparing>>): Promise<PreparedChange> {
  return together(Object.values(settings));
}

/**
 * Combines several changes. Prepares one after the other; when one fails, the earlier ones are discarded. Commits in
 * the same order.
 */
export async function together(parts: readonly Preparing[]): Promise<PreparedChange> {
  const prepared: PreparedChange[] = [];
  const discard = async (): Promise<void> => {
    await Promise.allSettled(prepared.map((change) => change.discard()));
  };
  for (const prepare of parts) {
    try {
      prepared.push(await prepare());
    } catch (reason) {
      await discard();
      throw reason;
    }
  }
  return { commit, discard };

  /** Only the stop of an old part can fail in a commit: the other changes are committed regardless. */
  async function commit(): Promise<void> {
    const ends = await Promise.allSettled(prepared.map((change) => change.commit()));
    const failures = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []));
    if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join('; '));
  }
}

/** Wraps a change that cannot fail. */
export function atOnce(commit: () => void): Preparing {
  // Async, so that an unexpected failure does not prevent the other commits.
  const change: PreparedChange = { commit: async () => commit(), discard: () => Promise.resolve() };
  return () => Promise.resolve(change);
}
