/** After an unhandled rejection no state is half changed; after an exception it may be. */
export type StrayKind = 'exception' | 'rejection';

/** Handles an uncaught error, or returns false: it belongs to somebody else. */
export type StrayListener = (error: Error, kind: StrayKind) => boolean;

/** The newest comes first. */
const listeners: StrayListener[] = [];

/**
 * Calls `listener` for errors that nobody catches, before those that were added earlier. An error that nobody takes ends the
 * process, as Node does it.
 *
 * @returns stops listening
 */
export function onStray(listener: StrayListener): () => void {
  if (listeners.length === 0) {
    process.on('uncaughtException', onException);
    process.on('unhandledRejection', onRejection);
  }
  listeners.unshift(listener);
  return () => {
    listeners.splice(listeners.indexOf(listener), 1);
    if (listeners.length > 0) return;
    process.off('uncaughtException', onException);
    process.off('unhandledRejection', onRejection);
  };
}

const onException = (thrown: unknown): void => report(thrown, 'exception');
const onRejection = (thrown: unknown): void => report(thrown, 'rejection');

function report(thrown: unknown, kind: StrayKind): void {
  const error = strayError(thrown);
  // Thrown in a listener of these events, it ends the process with its stack.
  if (!listeners.some((listener) => listener(error, kind))) throw error;
}

/**
 * Converts an uncaught value to an error. Never throws, since that would end the process at once. Without imports,
 * because it runs first.
 */
function strayError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  try {
    return new Error(String(thrown));
  } catch {
    return new Error(`a value of type ${typeof thrown} without text`);
  }
}
