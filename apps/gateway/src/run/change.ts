import type { PreparedChange } from '@meshgate/core/parts';
import type { LiveSetting } from './setting-effects.ts';

/** Prepares one part of a change. Rejects when it cannot be made; nothing has changed then. */
export type Preparing = () => Promise<PreparedChange>;

/** How every setting that takes no restart is put into use, in this order. */
export function changed(settings: Readonly<Record<LiveSetting, Preparing>>): Promise<PreparedChange> {
  return together(Object.values(settings));
}

/** Several changes as one, prepared one after the other: when one cannot be made, those before it are given up. Committed in order. */
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

  /** What fails by then is only something old that does not stop: the others are put into use all the same. */
  async function commit(): Promise<void> {
    const ends = await Promise.allSettled(prepared.map((change) => change.commit()));
    const failures = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []));
    if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join('; '));
  }
}

/** A change in which nothing can fail. */
export function atOnce(commit: () => void): Preparing {
  // What should fail all the same must not keep other parts from their commit.
  const change: PreparedChange = { commit: async () => commit(), discard: () => Promise.resolve() };
  return () => Promise.resolve(change);
}
