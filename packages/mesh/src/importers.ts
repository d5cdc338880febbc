import type { ExportedService, ExportTarget } from './catalog.ts';
import type { Authorization } from './intentions.ts';

/**
 * Returns the peers whose callers a proxy of `service` may accept: those to which the service is exported, under its
 * own name or under another name whose discovery chain leads to it. Consul's proxies trust the certificates of these
 * peers only.
 */
export function importersOf(service: string, exports: readonly ExportedService[]): readonly string[] {
  const leadsHere = ({ name, chain }: ExportedService): boolean => {
    const targets: readonly ExportTarget[] = [
      ...(chain?.target === undefined ? [] : [chain.target]),
      ...(chain?.failover ?? []),
    ];
    return name === service || targets.some((target) => target.service === service && (target.peer ?? '') === '');
  };
  return [...new Set(exports.filter(leadsHere).flatMap(({ peers }) => peers))];
}

/** The refusal of a caller whose peer does not import the service. */
export function notExported(service: string, peer: string): Authorization {
  return { allowed: false, reason: `${service} is not exported to peer ${peer}` };
}
