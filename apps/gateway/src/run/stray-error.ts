/**
 * What nobody caught, as an error. Never throws: it would end the process at once. Stands on nothing, for the first lines of a
 * process.
 */
export function strayError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  try {
    return new Error(String(thrown));
  } catch {
    return new Error(`a value of type ${typeof thrown} that has no text`);
  }
}
