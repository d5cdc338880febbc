import { failingChecks } from '@meshgate/consul-source';
import type { Explanation } from '../cli/explain.ts';
import type { Finding } from '../live-check/finding.ts';
import { intentionsFor } from './control-plane.ts';
import type { ControlPlane } from './control-plane.ts';

/**
 * Checks the intentions for the service with the name: a gateway forwards connections regardless of intentions, and the
 * service rejects them. No findings when the name is not a service's.
 */
export async function intentionFindings(explanation: Explanation, known: ControlPlane): Promise<readonly Finding[]> {
  const destination = destinationOf(explanation);
  if (destination === undefined || known.agents.length + known.meshes.length === 0) return [];
  const { service, callers, judge } = destination;
  const from = callers === undefined ? '' : ` from peer ${callers}`;
  const check = `intentions to ${service}${from}`;
  if (judge !== undefined) {
    const found = `those of peer ${judge} apply: run meshgate doctor with the name there`;
    return [{ check, outcome: 'ok', found }];
  }
  const verdict = await intentionsFor(known, service);
  if (verdict.kind === 'unknown') return [{ check, outcome: 'ok', found: `unknown: ${verdict.why}` }];
  // Intentions for services of this cluster do not apply to a peer's services, and the reverse.
  const intentions = verdict.intentions.filter(({ sourcePeer }) => sourcePeer === callers);
  const found =
    intentions.length === 0
      ? 'none, so the default applies (that of the ACLs, or allow)'
      : intentions.map(({ source, action }) => `${action === 'http' ? 'by HTTP rules' : action} ${source}`).join(', ');
  // Intentions are sorted by precedence: all sources are denied when no intention before the wildcard allows one.
  const decided = intentions.slice(0, 1 + intentions.findIndex(({ source }) => source === '*'));
  if (decided.length === 0 || decided.some(({ action }) => action !== 'deny')) return [{ check, outcome: 'ok', found }];
  const advice =
    callers === undefined
      ? `all sources are denied: consul intention create -allow SOURCE ${service}`
      : `all sources of the peer are denied: write a source with Peer = "${callers}" and Action = "allow" into service-intentions of ${service}`;
  return [{ check, outcome: 'failed', found, advice }];
}

/** Returns the failing checks of a service without a healthy instance. */
export async function checkEvidence(explanation: Explanation, { agents }: ControlPlane): Promise<string> {
  const [agent] = agents;
  const isLocal = explanation.found && explanation.kind?.startsWith('local-') === true;
  const service = isLocal ? destinationOf(explanation)?.service : undefined;
  const failing = service === undefined || agent === undefined ? [] : await failingChecks(agent, service);
  return failing.length === 0 ? '' : `: ${failing.join('; ')}`;
}

/** A service, and the cluster that has its intentions. */
interface IntentionTarget {
  readonly service: string;
  /** Peer whose services use the name; absent for this cluster. */
  readonly callers?: string;
  /** Peer whose intentions apply; absent for this cluster. */
  readonly judge?: string;
}

/** Takes the service from the origin of the route, or, for a gateway of another datacenter, from the name itself. */
function destinationOf(explanation: Explanation): IntentionTarget | undefined {
  if (!explanation.found) return undefined;
  const { origin = {}, kind, serverName } = explanation;
  const { service, peer } = origin;
  if (kind === 'remote-datacenter') {
    const [names = ''] = serverName.split('.internal.');
    // SERVICE.NAMESPACE.DATACENTER, with an optional subset in front.
    const named = names.split('.').at(-3);
    return named === undefined ? undefined : { service: named };
  }
  if (service === undefined) return undefined;
  switch (kind) {
    case 'local-service':
    case 'local-subset':
      return { service };
    case 'exported-service':
      return peer === undefined ? undefined : { service, callers: peer };
    case 'imported-service':
      return peer === undefined ? undefined : { service, judge: peer };
    default:
      return undefined;
  }
}
