import type { PluginMetrics } from '@meshgate/core';
import type { AgentOptions } from './agent.ts';
import type { OnRoots } from './roots.ts';

/**
 * Creates a metric for the expiry of the certificates between a proxy and its agent. Merge the result into the agent
 * options.
 */
export function agentCertificates(metrics: PluginMetrics): Required<Pick<AgentOptions, 'onCertificate'>> {
  const expiry = metrics.gauge({
    name: 'agent_certificate_expiry_timestamp_seconds',
    help: 'When the certificate of the agent, or of its client, expires (Unix time), as of the last new connection',
    labels: ['certificate'],
  });
  return { onCertificate: (certificate, validUntil) => expiry.set(unixTime(validUntil), { certificate }) };
}

/** Creates a metric for the expiry of this cluster's last root, and of each peer's. */
export function rootExpiry(metrics: PluginMetrics): OnRoots {
  const expiry = metrics.gauge({
    name: 'root_expiry_timestamp_seconds',
    help: 'When the last root of this cluster expires, and that of each peer (Unix time)',
    labels: ['authority'],
  });
  return (authority, validUntil) =>
    validUntil === undefined ? expiry.remove({ authority }) : expiry.set(unixTime(validUntil), { authority });
}

function unixTime(date: Date): number {
  return date.getTime() / 1_000;
}
