import type { GatewayVitals } from '../src/index.ts';

/** A gateway with two routes, one of them down, and a datacenter whose gateways are down. */
export const VITALS: GatewayVitals = {
  ready: () => true,
  routes: () => [
    { name: 'api', total: 2, healthy: 1 },
    { name: 'web', total: 1, healthy: 0 },
  ],
  remotes: () => [{ name: 'datacenter dc2', total: 2, healthy: 0 }],
  limits: () => ({ connections: 1_000, pendingHellos: 100, memoryBytes: 2 ** 30 }),
};
