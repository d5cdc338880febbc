import { resolve } from 'node:path';
import type { AdminClient } from '../admin/client.ts';
import type { StatusView } from '../admin/status.ts';
import type { Finding } from '../live-check/finding.ts';
import type { FlatSettings } from '../run/reload-plan.ts';

/** Status of a running proxy, or why it does not respond. */
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

/** Warns if the running proxy uses another configuration file than the one that is checked. Never rejects. */
export async function configFileFindings(client: AdminClient, role: string, file: string): Promise<readonly Finding[]> {
  const inUse = ((await client.get('/reload').catch(() => undefined)) as FlatSettings | undefined)?.file;
  if (inUse === undefined || inUse === resolve(file)) return [];
  const advice = 'check that file with --config, or select another gateway with --admin';
  return [{ check: `running ${role}`, outcome: 'warning', found: `uses ${inUse}, not ${file}`, advice }];
}

/**
 * Evaluates the status of a proxy. Pure.
 *
 * @param start the command that starts the proxy
 */
export function gatewayFindings(running: Running, start: string): readonly Finding[] {
  if (running.kind === 'silent') return [silentFinding(running.why, start)];
  const { role, proxyId, version, pid, transport, startedAt, reasons, warnings } = running.status;
  const check = proxyId === undefined ? `running ${role}` : `running ${role} ${proxyId}`;
  return [
    { check, outcome: 'ok', found: `version ${version}, process ${pid}, transport ${transport}, since ${startedAt}` },
    ...reasons.map((found): Finding => ({
      check,
      outcome: 'failed',
      found: `not ready: ${found}`,
      ...adviceFor(found),
    })),
    ...warnings.map((found): Finding => ({ check, outcome: 'warning', found, ...adviceFor(found) })),
  ];
}

/** Reports a failure: a proxy without a responding admin API most likely does not carry connections. */
function silentFinding(why: string, start: string): Finding {
  const isGone = /\b(?:ECONNREFUSED|ENOENT)\b/.test(why);
  const advice = isGone
    ? `start it: ${start}, or systemctl start meshgate; if it exited, the end of its log says why; if it listens elsewhere, give that address with --admin`
    : /\b(?:EACCES|EPERM)\b/.test(why)
      ? 'run this as root, or as a member of the group of the socket'
      : 'check what listens there and whether it hangs, or name the admin API of the gateway with --admin';
  const found = isGone ? `${why}: clients cannot connect until it runs` : why;
  return { check: 'running gateway', outcome: 'failed', found, advice };
}

/** Effect on traffic and remedy, by the beginning of a reason or warning. */
const ADVICE: readonly (readonly [beginning: string, advice: string])[] = [
  [
    'draining:',
    'a signal or meshgate drain started it: connections continue, new ones are accepted during drain.delay only; start it again, or wait for its successor',
  ],
  [
    'log lines cannot be written:',
    'traffic is not affected; free disk space, or check the reader of its standard output',
  ],
];

function adviceFor(found: string): Pick<Finding, 'advice'> {
  const advice = ADVICE.find(([beginning]) => found.startsWith(beginning))?.[1];
  return advice === undefined ? {} : { advice };
}
