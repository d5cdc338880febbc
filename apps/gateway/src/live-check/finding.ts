/** One check of a gateway's environment, and its result. For people, one line each. */
export interface Finding {
  /** What was checked: `Consul agent at http://127.0.0.1:8500`. */
  readonly check: string;
  /** `failed`: a gateway started now would not become ready. */
  readonly outcome: 'ok' | 'warning' | 'failed';
  readonly found: string;
  /** How to fix it. */
  readonly advice?: string;
}

/** One line: what was checked, the result, how to fix it. */
export function findingText({ check, outcome, found, advice }: Finding): string {
  const what = advice === undefined ? found : `${found}; ${advice}`;
  return `${LABELS[outcome]} ${check}: ${what}`;
}

const LABELS = { ok: 'ok     ', warning: 'WARNING', failed: 'FAILED ' } as const;
