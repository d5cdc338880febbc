/**
 * What `work` gives. Rejects after `ms` when it has not settled by then: with an error that says how long that was, and `why`. Nobody
 * waits for it any more then; what it gives later is dropped.
 */
export async function settledWithin<T>(ms: number, work: () => Promise<T>, why: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${ms / 1000} s: ${why}`)), ms);
  });
  try {
    return await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
  }
}
