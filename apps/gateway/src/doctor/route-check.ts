import type { AccessRules } from '@meshgate/core';
import type { Explanation } from '../cli/explain.ts';
import type { Finding } from '../live-check/finding.ts';
import type { Target } from './reach-check.ts';

/**
 * The route table's result for the name. Pure.
 *
 * @param evidence why no instance is healthy, where known: `: CHECK critical`
 */
export function nameFindings(explanation: Explanation, evidence = ''): readonly Finding[] {
  const check = `name ${explanation.serverName}`;
  if (!explanation.found) {
    const { why, nearest } = explanation;
    const advice =
      nearest.length === 0
        ? 'no similar route: check meshgate routes, and the sources above'
        : `similar names: ${nearest.join(', ')}`;
    return [{ check, outcome: 'failed', found: `no route, ${why}`, advice }];
  }
  const { route, source, why, origin = {}, backends, shadowed, access } = explanation;
  const chain = Object.entries(origin).map(([key, value]) => `${key} ${value}`);
  const found = [`route ${route} of ${source}, ${why}`, ...chain].join('; ');
  return [
    { check, outcome: 'ok', found },
    ...(access === undefined ? [] : [accessFinding(check, access)]),
    ...shadowed.map((other): Finding => ({
      check,
      outcome: 'ok',
      found: `shadows route ${other.route} of ${other.source}`,
    })),
    ...backendFindings(check, backends, evidence),
  ];
}

/** The doctor cannot know the address of the client that has the problem. */
function accessFinding(check: string, { allow, deny, allowFile, denyFile }: AccessRules): Finding {
  const lists = [
    ...(allow === undefined ? [] : [`only from ${allow.join(', ')}`]),
    ...(allowFile === undefined ? [] : [`only from those in ${allowFile}`]),
    ...(deny === undefined ? [] : [`not from ${deny.join(', ')}`]),
    ...(denyFile === undefined ? [] : [`not from those in ${denyFile}`]),
  ];
  return { check, outcome: 'ok', found: `clients may connect ${lists.join(', ')}; others end with CLIENT_DENIED` };
}

type ExplainedBackends = Extract<Explanation, { readonly found: true }>['backends'];

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
  if (backends.some(({ healthy, ejected }) => healthy && !ejected)) return [];
  const found = backends.some(({ healthy }) => healthy)
    ? 'every backend is ejected after failed dials'
    : `no backend is healthy${evidence}`;
  return [{ check, outcome: 'failed', found, advice: 'check the health checks of its instances' }];
}

/** Every backend of the name, to be probed with it. Pure. */
export function targetsOfName(explanation: Explanation): readonly Target[] {
  if (!explanation.found) return [];
  const { serverName, route, backends, origin = {} } = explanation;
  const way = wayOf(origin);
  return backends.map(({ host, port }) => ({
    what: `route ${route}`,
    address: { host, port },
    serverName,
    isMadeUp: false,
    ...(way !== undefined && { way }),
  }));
}

/** For an upstream of a sidecar. */
function wayOf({ path, mode, decidedBy }: Readonly<Record<string, string>>): string | undefined {
  if (path === undefined || mode === undefined) return undefined;
  return `its mesh gateway mode is ${mode}${decidedBy === undefined ? '' : ` (${decidedBy})`}, so the path is ${path}`;
}
