import { ConfigProblems, formatProblem } from '@meshgate/core';
import type { AdminClient } from '../admin/client.ts';
import { queriesOf, queriesTo } from '../admin/route-queries.ts';
import type { RouteQueries } from '../admin/route-queries.ts';
import { requestedName } from '../cli/explain.ts';
import type { Explanation } from '../cli/explain.ts';
import type { Amend } from '../config/amend-config.ts';
import { checkConfig } from '../config/load-config.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import type { Finding } from '../live-check/finding.ts';
import { checkLive } from '../live-check/live-check.ts';
import { thisMachine } from '../run/machine.ts';
import { builtInTransports, chooseTransport } from '../run/transport-choice.ts';
import { controlPlaneOf, NO_CONTROL_PLANE, peerFindings } from './control-plane.ts';
import type { ControlPlane } from './control-plane.ts';
import { queryGateway, gatewayFindings } from './gateway-check.ts';
import { machineFindings } from './machine-check.ts';
import { checkEvidence, intentionFindings } from './intention-check.ts';
import { checkReach, gapsIn, targetsOf } from './reach-check.ts';
import { nameFindings, targetsOfName } from './route-check.ts';
import { usageFindings } from './usage-check.ts';

/** What to check. */
export interface DoctorRequest {
  /** When given, only the path of this name; otherwise every backend, up to a limit. */
  readonly serverName?: string | undefined;
  /** The configuration to check; absent when there is none. */
  readonly config?: { readonly file: string | undefined; readonly amend: Amend };
  /** Of the running gateway, if there is one. */
  readonly admin: AdminClient;
}

/**
 * Checks everything that a connection depends on, causes before symptoms: fix the first failure first. Read-only, and
 * registers nothing. Takes a minute at most.
 */
export async function diagnose({ serverName, config, admin }: DoctorRequest): Promise<readonly Finding[]> {
  const running = await queryGateway(admin);
  const loaded = config === undefined ? undefined : await load(config);
  const usable = loaded?.kind === 'loaded' ? loaded.config : undefined;
  const known = usable === undefined ? NO_CONTROL_PLANE : await controlPlaneOf(usable);
  const queries =
    running.kind === 'running'
      ? queriesTo(admin)
      : config !== undefined && usable !== undefined && queriesOf(config.file, config.amend);
  return [
    ...(loaded?.findings ?? []),
    ...(await machine(usable)),
    ...(usable === undefined ? [] : await checkLive(usable, { withNames: serverName === undefined })),
    ...(queries === false ? [] : await routing(queries, serverName, known)),
    ...gatewayFindings(running, config === undefined),
    ...(running.kind === 'running' ? await usageFindings(admin) : []),
  ];
}

type CheckedConfig =
  | { readonly kind: 'loaded'; readonly config: LoadedConfig; readonly findings: readonly Finding[] }
  | { readonly kind: 'wrong'; readonly findings: readonly Finding[] };

async function load({ file, amend }: NonNullable<DoctorRequest['config']>): Promise<CheckedConfig> {
  const check = `configuration ${file ?? 'of the command line'}`;
  try {
    const config = await checkConfig(file, amend);
    const warnings = config.warnings.map((found): Finding => ({ check, outcome: 'warning', found }));
    return { kind: 'loaded', config, findings: [{ check, outcome: 'ok', found: 'valid' }, ...warnings] };
  } catch (reason) {
    const found =
      reason instanceof ConfigProblems
        ? reason.problems.map(formatProblem)
        : [reason instanceof Error ? reason.message : String(reason)];
    return { kind: 'wrong', findings: found.map((problem) => ({ check, outcome: 'failed', found: problem })) };
  }
}

async function machine(loaded: LoadedConfig | undefined): Promise<readonly Finding[]> {
  const choice = loaded?.transport ?? (await chooseTransport('auto', [], builtInTransports('auto')));
  return machineFindings(thisMachine(), choice);
}

async function routing(
  queries: RouteQueries,
  serverName: string | undefined,
  known: ControlPlane,
): Promise<readonly Finding[]> {
  try {
    if (serverName === undefined) {
      const view = { routes: Array.from((await queries.routes()).routes) };
      return [...(await peerFindings(known)), ...gapsIn(view), ...(await checkReach(targetsOf(view)))];
    }
    const requested = requestedName(serverName);
    if (requested.kind !== 'name') return [{ check: `name ${serverName}`, outcome: 'failed', found: requested.why }];
    const explanation = await queries.explain(requested.serverName);
    return [
      ...(await peersOfName(explanation, known)),
      ...nameFindings(explanation, await checkEvidence(explanation, known)),
      ...(await intentionFindings(explanation, known)),
      ...(await checkReach(targetsOfName(explanation))),
    ];
  } catch (reason) {
    return [{ check: 'routes', outcome: 'failed', found: reason instanceof Error ? reason.message : String(reason) }];
  }
}

/** Of the peer that the name leads to, or is exported to. A name of peers without a route may miss any of them. */
async function peersOfName(explanation: Explanation, known: ControlPlane): Promise<readonly Finding[]> {
  if (!explanation.found) return explanation.serverName.includes('.external.') ? peerFindings(known) : [];
  const peer = explanation.origin?.['peer'];
  return peer === undefined ? [] : peerFindings(known, peer);
}
