// Wording of configuration problems: the expected and the found.

/** Returns the message for a setting whose value should be `what`. {@link missingKey} reports a missing value. */
export function expecting(what: string): { error(issue: { readonly input?: unknown }): string } {
  return { error: ({ input }) => `expected ${what}, found ${describe(input)}` };
}

export function missingKey(key: string | number): string {
  return `expected the key ${JSON.stringify(key)}, found none`;
}

/** Describes a wrong value, shortened. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value === 'number') return `the number ${value}`;
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text;
}

const SHOWN_CHARS = 80;
