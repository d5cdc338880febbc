import { formatEndpoint } from '@meshgate/core';
import type { AccessRules } from '@meshgate/core';
import type { Explanation } from '../cli/explain.ts';
import type { Finding } from '../live-check/finding.ts';
import type { Target } from './reach-check.ts';

/**
 * Evaluates the route table's result for the name. Pure.
 *
 * @param evidence why no instance is healthy, if known: `: CHECK critical`
 */
export function nameFindings(explanation: Explanation, evidence = ''): readonly Finding[] {
  const check = `name ${explanation.serverName}`;
  if (!explanation.found) {
    return [{ check, outcome: 'failed', ...missing(explanation) }];
  }
  const { route, source, why, origin = {}, backends, shadowed, access, listenerAccess = [], limits } = explanation;
  const chain = Object.entries(origin).map(([key, value]) => `${key} ${value}`);
  const found = [`route ${route} of ${source}, ${why}`, ...chain].join('; ');
  return [
    { check, outcome: 'ok', found },
    ...(access === undefined ? [] : [accessFinding(check, access)]),
    ...listenerAccess.map((one) => accessFinding(`${check} on listener ${one.listener}`, one.access)),
    ...(limits === undefined ? [] : [limitsFinding(check, limits)]),
    ...shadowed.map((other) => shadowFinding(check, other, explanation)),
    ...backendFindings(check, backends, evidence),
  ];
}

/** Reports a shadowed route. One with a wider pattern serves other names; one with the same pattern is never used. */
function shadowFinding(check: string, other: FoundExplanation['shadowed'][number], used: FoundExplanation): Finding {
  const found = `shadows route ${other.route} of ${other.source}`;
  if (other.pattern !== used.pattern) return { check, outcome: 'note', found: `${found}, which has ${other.pattern}` };
  const advice =
    'two routes have the name, and the first of the sources counts: remove it from one of the two, or change the order of "sources"';
  return { check, outcome: 'warning', found: `${found}, which is never used for it`, advice };
}

function missing({ why, nearest, onListeners = [] }: Extract<Explanation, { readonly found: false }>) {
  const where = onListeners.map(({ listener }) => listener).join(', ');
  if (where !== '') {
    const found = `its route applies on listener ${where} only`;
    return { found, advice: `connect there, or add the other listeners to the route's own: "listeners"` };
  }
  const advice =
    nearest.length === 0
      ? 'no similar route: check meshgate routes, and the sources above'
      : `similar names: ${nearest.join(', ')}`;
  return { found: why, advice };
}

function limitsFinding(check: string, limits: NonNullable<FoundExplanation['limits']>): Finding {
  const all = Object.entries(limits).map(([name, value]) => `${name} ${value}`);
  return {
    check,
    outcome: 'note',
    found: `limits of its route: ${all.join(', ')}; connections above a limit end with LIMIT_REACHED`,
  };
}

/** Reports access rules, because the address of the affected client is not known. */
function accessFinding(check: string, { allow, deny, allowFile, denyFile }: AccessRules): Finding {
  const lists = [
    ...(allow === undefined ? [] : [`only from ${allow.join(', ')}`]),
    ...(allowFile === undefined ? [] : [`only from those in ${allowFile}`]),
    ...(deny === undefined ? [] : [`not from ${deny.join(', ')}`]),
    ...(denyFile === undefined ? [] : [`not from those in ${denyFile}`]),
  ];
  return { check, outcome: 'note', found: `clients are admitted  ${lists.join(', ')}; others end with CLIENT_DENIED` };
}

type FoundExplanation = Extract<Explanation, { readonly found: true }>;
type ExplainedBackends = FoundExplanation['backends'];

function backendFindings(check: string, backends: ExplainedBackends, evidence: string): readonly Finding[] {
  if (backends.length === 0)
    return [
      {
        check,
        outcome: 'failed',
        found: 'its route has no backend',
        advice: 'no instance of the service is registered, or no gateway of its datacenter is known',
      },
    ];
  const down = backends.flatMap(({ check: own }) => (own?.state === 'down' ? own.addresses : []));
  if (backends.every(({ check: own }) => own?.state === 'down')) {
    const why = down.map(
      ({ host, port, failure = 'not passed yet' }) => `${formatEndpoint({ host, port })} ${failure}`,
    );
    const found = `every backend is down by the health check of the route: ${why.slice(0, MAX_SHOWN).join('; ')}`;
    return [{ check, outcome: 'failed', found, advice: 'fix the backends, or the healthCheck of the route' }];
  }
  if (backends.some(({ healthy, ejected }) => healthy && !ejected)) return [];
  const found = backends.some(({ healthy }) => healthy)
    ? 'every backend is ejected after failed dials'
    : `no backend is healthy${evidence}`;
  return [{ check, outcome: 'failed', found, advice: 'check the health checks of its instances' }];
}

/** Enough to show the reason. */
const MAX_SHOWN = 3;

/** Returns every backend of the name as a target, to be probed with this name. Pure. */
export function targetsOfName(explanation: Explanation): readonly Target[] {
  if (!explanation.found) return [];
  const { serverName, route, backends, origin = {} } = explanation;
  const modePath = pathOf(origin);
  return backends.map(({ host, port }) => ({
    what: `route ${route}`,
    address: { host, port },
    serverName,
    isMadeUp: false,
    ...(modePath !== undefined && { modePath }),
  }));
}

/** Describes the path to an upstream of a sidecar. */
function pathOf({ path, mode, decidedBy }: Readonly<Record<string, string>>): string | undefined {
  if (path === undefined || mode === undefined) return undefined;
  return `its mesh gateway mode is ${mode}${decidedBy === undefined ? '' : ` (${decidedBy})`}, so the path is ${path}`;
}
