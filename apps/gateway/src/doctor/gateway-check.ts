import type { AdminClient } from '../admin/client.ts';
import type { StatusView } from '../admin/status.ts';
import type { Finding } from '../live-check/finding.ts';

/** The status of a running proxy, or why it does not respond. */
export type Running =
  { readonly kind: 'running'; readonly status: StatusView } | { readonly kind: 'silent'; readonly why: string };

/** Queries the status of a proxy. Never rejects. */
export async function queryGateway(client: AdminClient): Promise<Running> {
  try {
    return { kind: 'running', status: (await client.get('/status')) as StatusView };
  } catch (reason) {
    return { kind: 'silent', why: reason instanceof Error ? reason.message : String(reason) };
  }
}

/**
 * The check of it. Pure.
 *
 * @param isExpected whether it should be running: no configuration was given to check instead
 */
export function gatewayFindings(running: Running, isExpected: boolean): readonly Finding[] {
  if (running.kind === 'silent') {
    const outcome = isExpected ? 'failed' : 'warning';
    return [{ check: 'running gateway', outcome, found: running.why, advice: 'start it, or name it with --admin' }];
  }
  const { role, version, pid, transport, startedAt, reasons, warnings } = running.status;
  const check = `running ${role}`;
  return [
    { check, outcome: 'ok', found: `version ${version}, process ${pid}, transport ${transport}, since ${startedAt}` },
    ...reasons.map((found): Finding => ({ check, outcome: 'failed', found: `not ready: ${found}` })),
    ...warnings.map((found): Finding => ({ check, outcome: 'warning', found })),
  ];
}
