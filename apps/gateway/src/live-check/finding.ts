import { counted } from '../log/messages.ts';

/** The result of one check of a gateway's environment, in one line for operators. */
export interface Finding {
  /** Subject of the check: `Consul agent at http://127.0.0.1:8500`. */
  readonly check: string;
  /**
   * `failed`: clients are rejected, or a gateway started now would not become ready. `note`: as configured, but not
   * what every client or reader expects.
   */
  readonly outcome: 'ok' | 'note' | 'warning' | 'failed';
  readonly found: string;
  /** The remedy. */
  readonly advice?: string;
}

/** Summary of findings. */
export interface FindingsSummary {
  /** True when no check failed. */
  readonly healthy: boolean;
  /** Number of checks that failed. */
  readonly failed: number;
  /** Number of warnings. */
  readonly warnings: number;
  /** The finding to fix first: the first failure, else the first warning; absent without either. */
  readonly first?: Finding;
}

/**
 * Summarises findings. Causes come before symptoms, so the first finding of the worst outcome is to be fixed first.
 * Pure.
 */
export function summaryOf(findings: readonly Finding[]): FindingsSummary {
  const [failed, warnings] = (['failed', 'warning'] as const).map((one) =>
    findings.filter(({ outcome }) => outcome === one),
  );
  const first = failed?.[0] ?? warnings?.[0];
  const counts = { failed: failed?.length ?? 0, warnings: warnings?.length ?? 0 };
  return { healthy: counts.failed === 0, ...counts, ...(first !== undefined && { first }) };
}

/** Formats findings, one per line, only the first few of each kind, and a summary in the last line. Pure. */
export function findingLines(findings: readonly Finding[]): readonly string[] {
  const kindOf = ({ check, outcome }: Finding): string => `${outcome} ${check.split(' ', 1).join()}`;
  const totals = new Map<string, number>();
  for (const finding of findings) totals.set(kindOf(finding), (totals.get(kindOf(finding)) ?? 0) + 1);
  const shown = new Map<string, number>();
  const lines = findings.flatMap((finding): readonly string[] => {
    const kind = kindOf(finding);
    const count = (shown.get(kind) ?? 0) + 1;
    shown.set(kind, count);
    const more = (totals.get(kind) ?? 0) - MAX_OF_A_KIND;
    if (count > MAX_OF_A_KIND) return [];
    if (count < MAX_OF_A_KIND || more <= 0) return [findingText(finding)];
    return [
      findingText(finding),
      `${LABELS[finding.outcome]} ${finding.check.split(' ', 1).join()}: and ${more} more like these`,
    ];
  });
  return [...lines, verdictText(findings)];
}

/**
 * Limits repetitions: a cause that affects a thousand files shows in the first ones, and the summary must not scroll
 * away.
 */
const MAX_OF_A_KIND = 16;

function verdictText(findings: readonly Finding[]): string {
  const { failed, warnings, first } = summaryOf(findings);
  if (first === undefined) return `healthy: nothing wrong in ${counted(findings.length, 'check')}`;
  const what = textOf(first);
  const warned = counted(warnings, 'warning');
  return failed === 0
    ? `healthy, ${warned}; look at this first: ${what}`
    : `${failed} failed, ${warned}; fix this first: ${what}`;
}

/** Formats a finding in one line: check, result, remedy. */
function findingText(finding: Finding): string {
  return `${LABELS[finding.outcome]} ${textOf(finding)}`;
}

function textOf({ check, found, advice }: Finding): string {
  return `${check}: ${advice === undefined ? found : `${found}; ${advice}`}`;
}

const LABELS = { ok: 'ok     ', note: 'note   ', warning: 'WARNING', failed: 'FAILED ' } as const;
