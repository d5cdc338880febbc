import { failingChecks, intentionsTo } from '@meshgate/consul-source';
import type { AgentOptions } from '@meshgate/consul-source';
import type { Explanation } from '../cli/explain.ts';
import type { Finding } from '../live-check/finding.ts';

/**
 * What Consul's intentions say of connections to the service that has the name: a gateway passes them on whatever these say, and the
 * service turns them away. Nothing where the name is no service's.
 */
export async function intentionFindings(
  explanation: Explanation,
  agents: readonly AgentOptions[],
): Promise<readonly Finding[]> {
  const service = serviceOf(explanation);
  const [agent] = agents;
  if (service === undefined || agent === undefined) return [];
  const check = `intentions to ${service}`;
  const verdict = await intentionsTo(agent, service);
  if (verdict.kind === 'unknown') return [{ check, outcome: 'ok', found: `not known: ${verdict.why}` }];
  const { intentions } = verdict;
  const found =
    intentions.length === 0
      ? 'none, so that the default of the ACLs holds'
      : intentions.map(({ source, action }) => `${action} ${source}`).join(', ');
  // The strongest comes first: nobody gets through when none before the one for everybody allows anything.
  const decided = intentions.slice(0, 1 + intentions.findIndex(({ source }) => source === '*'));
  if (decided.length === 0 || decided.some(({ action }) => action !== 'deny')) return [{ check, outcome: 'ok', found }];
  const advice = `nobody may connect: consul intention create -allow SOURCE ${service}`;
  return [{ check, outcome: 'failed', found, advice }];
}

/** Of a service without a healthy instance, the checks that say so. */
export async function checkEvidence(explanation: Explanation, agents: readonly AgentOptions[]): Promise<string> {
  const [agent] = agents;
  const service =
    explanation.found && explanation.kind?.startsWith('local-') === true ? serviceOf(explanation) : undefined;
  const failing = service === undefined || agent === undefined ? [] : await failingChecks(agent, service);
  return failing.length === 0 ? '' : `: ${failing.join('; ')}`;
}

/** By what made the route, or, beyond a gateway of another datacenter, by the name itself. */
function serviceOf(explanation: Explanation): string | undefined {
  if (!explanation.found) return undefined;
  const { origin = {}, kind, serverName } = explanation;
  if (kind === 'local-service' || kind === 'local-subset') return origin['service'];
  if (kind !== 'remote-datacenter') return undefined;
  const [names = ''] = serverName.split('.internal.');
  // SERVICE.NAMESPACE.DATACENTER, before it a subset perhaps.
  return names.split('.').at(-3);
}
