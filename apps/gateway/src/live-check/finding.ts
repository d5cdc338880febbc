/** One thing that was asked of the world around a gateway, and what came of it. For people, a line each. */
export interface Finding {
  /** What was asked: `Consul agent at http://127.0.0.1:8500`. */
  readonly check: string;
  /** `failed`: a start would not be ready with it. */
  readonly outcome: 'ok' | 'warning' | 'failed';
  readonly found: string;
  /** What to do about it. */
  readonly advice?: string;
}

/** As a line: what was asked, what was found, what to do. */
export function findingText({ check, outcome, found, advice }: Finding): string {
  const what = advice === undefined ? found : `${found}; ${advice}`;
  return `${LABELS[outcome]} ${check}: ${what}`;
}

const LABELS = { ok: 'ok     ', warning: 'WARNING', failed: 'FAILED ' } as const;
