/** After an exception, state may be half changed; after an unhandled rejection it is consistent. */
export type StrayKind = 'exception' | 'rejection';

/** Handles an uncaught error. Returns false when the error belongs to another listener. */
export type StrayListener = (error: Error, kind: StrayKind) => boolean;

/** Listeners, the latest first. */
const listeners: StrayListener[] = [];

/**
 * Calls `listener` for uncaught errors, before earlier listeners. An error that no listener handles ends the process,
 * as it does in Node.
 *
 * @returns a function that removes the listener
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
  // An error thrown in a listener of these events ends the process with its stack.
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
