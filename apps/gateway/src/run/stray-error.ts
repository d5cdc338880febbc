/**
 * An uncaught value, as an error. Never throws, which would end the process at once. Imports nothing, since it runs
 * first.
 */
export function strayError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  try {
    return new Error(String(thrown));
  } catch {
    return new Error(`a value of type ${typeof thrown} without text`);
  }
}
