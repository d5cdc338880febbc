import type { ExportedService, ExportTarget } from './catalog.ts';
import type { Authorization } from './intentions.ts';

/**
 * The peers whose callers a proxy of `service` may see: those to which it is exported, by its own name or by another one whose
 * discovery chain leads to it. Consul's proxies trust the certificates of these peers and of no others.
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

/** What a caller of `peer` hears of a service that is not exported to it. */
export function notExported(service: string, peer: string): Authorization {
  return { allowed: false, reason: `${service} is not exported to peer ${peer}` };
}
