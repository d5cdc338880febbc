import { ConfigProblems, formatProblem } from '@meshgate/core';
import type { AdminClient } from '../admin/client.ts';
import type { ListenerView } from '../admin/views.ts';
import { queriesOf, queriesTo } from '../admin/route-queries.ts';
import type { RouteQueries } from '../admin/route-queries.ts';
import { requestedName } from '../cli/explain.ts';
import type { Explanation } from '../cli/explain.ts';
import type { Amend } from '../config/amend-config.ts';
import { checkConfig } from '../config/load-config.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import type { Finding } from '../live-check/finding.ts';
import { checkLive, checkSidecarLive } from '../live-check/live-check.ts';
import type { ProxyChoice } from '@meshgate/mesh';
import { checkSidecar } from '../sidecar/load-sidecar.ts';
import { thisMachine } from '../run/machine.ts';
import { builtInTransports, chooseTransport } from '../run/transport-choice.ts';
import { controlPlaneOf, NO_CONTROL_PLANE, peerFindings } from './control-plane.ts';
import type { ControlPlane } from './control-plane.ts';
import { configFileFindings, gatewayFindings, queryGateway } from './gateway-check.ts';
import type { Running } from './gateway-check.ts';
import { machineFindings } from './machine-check.ts';
import { checkEvidence, intentionFindings } from './intention-check.ts';
import { checkReach, gapsIn, targetsOf, withOwnListeners } from './reach-check.ts';
import type { OwnListener } from './reach-check.ts';
import { nameFindings, targetsOfName } from './route-check.ts';
import { usageFindings } from './usage-check.ts';

/** The checks to run. */
export interface DoctorRequest {
  /** Name whose path is checked. When absent, every backend is checked, up to a limit. */
  readonly serverName?: string | undefined;
  /** The configuration to check; absent when there is none. */
  readonly config?: DoctorConfig;
  /** Admin API of the running proxy, if there is one. */
  readonly admin: AdminClient;
}

/** A configuration to check. */
interface DoctorConfig {
  readonly file: string | undefined;
  readonly amend: Amend;
  /** The sidecar of the configuration; absent for a gateway. */
  readonly sidecar?: ProxyChoice;
}

/**
 * Checks everything on which a connection depends, causes before symptoms, so that the first failure is to be fixed
 * first. Read-only, registers nothing. Takes a minute at most.
 */
export async function diagnose({ serverName, config, admin }: DoctorRequest): Promise<readonly Finding[]> {
  const running = await queryGateway(admin);
  const isUnnamed = running.kind === 'running' && running.status.role === 'sidecar' && config?.sidecar === undefined;
  const loaded = config === undefined ? undefined : isUnnamed ? unnamedSidecar(config) : await load(config);
  const usable = loaded?.kind === 'loaded' ? loaded.config : undefined;
  const known = usable === undefined ? NO_CONTROL_PLANE : await controlPlaneOf(usable);
  const queries =
    running.kind === 'running'
      ? queriesTo(admin)
      : config !== undefined &&
        config.sidecar === undefined &&
        usable !== undefined &&
        queriesOf(config.file, config.amend);
  const listeners = await listenersOf(running, admin, usable);
  const routed = queries === false ? NOTHING_ROUTED : await routing(queries, { serverName, known, listeners });
  const all = [
    ...(loaded?.findings ?? []),
    ...(await machine(usable)),
    ...(usable === undefined ? [] : await liveFindings(usable, config, serverName)),
    ...routed.findings,
    ...gatewayFindings(running, startOf(config)),
    ...(running.kind === 'running' && config?.file !== undefined
      ? await configFileFindings(admin, running.status.role, config.file)
      : []),
    ...(running.kind === 'running' ? await usageFindings(admin, routed.route) : []),
  ];
  const inOrder = serverName === undefined ? all : ofNameFirst(all, routed.findings);
  return withoutRepeats(inOrder);
}

/** Returns the command that starts the proxy of a configuration. */
function startOf({ file, sidecar }: Partial<DoctorConfig> = {}): string {
  const of = file === undefined ? '' : ` --config ${file}`;
  if (sidecar === undefined) return `meshgate gateway${of}`;
  return `meshgate sidecar ${'proxyId' in sidecar ? `--proxy-id ${sidecar.proxyId}` : `--sidecar-for ${sidecar.sidecarFor}`}${of}`;
}

/**
 * Drops repeated descriptions of a file's problem: only the first finding, usually that of its configuration, has the
 * text.
 */
function withoutRepeats(findings: readonly Finding[]): readonly Finding[] {
  const reported = new Set<string>();
  return findings.flatMap((finding): readonly Finding[] => {
    const { check, outcome, found } = finding;
    if (outcome === 'ok' || outcome === 'note') return [finding];
    const repeated = Array.from(reported).filter((one) => found.includes(one));
    if (OF_FILES.test(check) && found.length >= MIN_TEXT_CHARS) reported.add(found);
    if (repeated.length === 0) return [finding];
    if (outcome === 'warning') return [];
    const rest = repeated.reduce((text, one) => text.replace(one, AS_ABOVE), found);
    return [{ ...finding, found: rest.replace(/as above(?:; as above)+/, AS_ABOVE) }];
  });
}

const OF_FILES = /^(?:configuration|source) /;
const AS_ABOVE = 'as above';
/** Minimum length, because a shorter text may be part of another one by chance. */
const MIN_TEXT_CHARS = 24;

/** Moves warnings about other names than the requested one to the end: they most likely concern other routes. */
function ofNameFirst(all: readonly Finding[], ofName: readonly Finding[]): readonly Finding[] {
  const isBeside = (one: Finding): boolean =>
    one.outcome === 'warning' && !ofName.includes(one) && !one.check.startsWith('connections of route');
  return [...all.filter((one) => !isBeside(one)), ...all.filter(isBeside)];
}

/** Returns the gateway's listeners: as the gateway reports them, else from its configuration. */
async function listenersOf(
  running: Running,
  admin: AdminClient,
  usable: LoadedConfig | undefined,
): Promise<readonly OwnListener[]> {
  const configured = usable?.config.listeners.map(({ name, endpoint: address }) => ({ name, address })) ?? [];
  if (running.kind !== 'running') return configured;
  const response = (await admin.get('/listeners').catch(() => undefined)) as DoctorListeners | undefined;
  return response?.listeners.map(({ name, host, port }) => ({ name, address: { host, port } })) ?? configured;
}

interface DoctorListeners {
  readonly listeners: readonly ListenerView[];
}

type CheckedConfig =
  | { readonly kind: 'loaded'; readonly config: LoadedConfig; readonly findings: readonly Finding[] }
  | { readonly kind: 'wrong'; readonly findings: readonly Finding[] };

function liveFindings(
  loaded: LoadedConfig,
  config: DoctorConfig | undefined,
  serverName: string | undefined,
): Promise<readonly Finding[]> {
  return config?.sidecar === undefined
    ? checkLive(loaded, { withNames: serverName === undefined })
    : checkSidecarLive(loaded);
}

/** Skips the configuration of a sidecar that is not named: it would be invalid for a gateway. */
function unnamedSidecar({ file }: DoctorConfig): CheckedConfig {
  const check = `configuration ${file ?? 'of the command line'}`;
  const found = 'not checked: the running proxy is a sidecar';
  const advice = 'name it with --sidecar-for SERVICE_ID';
  return { kind: 'wrong', findings: [{ check, outcome: 'warning', found, advice }] };
}

async function load({ file, amend, sidecar }: DoctorConfig): Promise<CheckedConfig> {
  const check = `configuration ${file ?? 'of the command line'}`;
  try {
    const config = await (sidecar === undefined ? checkConfig(file, amend) : checkSidecar(file, amend, sidecar));
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

/** Inputs of the route checks. */
interface RoutingQuery {
  readonly serverName: string | undefined;
  readonly known: ControlPlane;
  readonly listeners: readonly OwnListener[];
}

interface DoctorRouting {
  readonly findings: readonly Finding[];
  /** Name of the route for the requested name. */
  readonly route?: string;
}

const NOTHING_ROUTED: DoctorRouting = { findings: [] };

async function routing(queries: RouteQueries, query: RoutingQuery): Promise<DoctorRouting> {
  const { serverName, known, listeners } = query;
  try {
    if (serverName !== undefined) return await routingOf(serverName, queries, query);
    const view = { routes: Array.from((await queries.routes()).routes) };
    const targets = withOwnListeners(targetsOf(view), listeners);
    return { findings: [...(await peerFindings(known)), ...gapsIn(view), ...(await checkReach(targets))] };
  } catch (reason) {
    const found = reason instanceof Error ? reason.message : String(reason);
    return { findings: [{ check: 'routes', outcome: 'failed', found }] };
  }
}

async function routingOf(
  name: string,
  queries: RouteQueries,
  { known, listeners }: RoutingQuery,
): Promise<DoctorRouting> {
  const requested = requestedName(name);
  if (requested.kind !== 'name')
    return { findings: [{ check: `name ${name}`, outcome: 'failed', found: requested.why }] };
  const explanation = await queries.explain(requested.serverName);
  const findings = [
    ...(await peersOfName(explanation, known)),
    ...nameFindings(explanation, await checkEvidence(explanation, known)),
    ...(await intentionFindings(explanation, known)),
    ...(await checkReach(withOwnListeners(targetsOfName(explanation), listeners))),
  ];
  return { findings, ...(explanation.found && { route: explanation.route }) };
}

/**
 * Returns findings for the peer to which the name leads, or to which it is exported. A peer's name without a route may
 * belong to any peer.
 */
async function peersOfName(explanation: Explanation, known: ControlPlane): Promise<readonly Finding[]> {
  if (!explanation.found) return explanation.serverName.includes('.external.') ? peerFindings(known) : [];
  const peer = explanation.origin?.['peer'];
  return peer === undefined ? [] : peerFindings(known, peer);
}
