import type { Instance } from '../src/index.ts';

/** A healthy sidecar of `service` on 10.0.0.1:8080; `over` overrides its fields. */
export function instance(service: string, over: Partial<Instance> = {}): Instance {
  return {
    id: `${service}-1`,
    service: `${service}-sidecar-proxy`,
    kind: 'connect-proxy',
    node: 'node-1',
    nodeAddress: '10.0.0.1',
    nodeTaggedAddresses: {},
    address: '10.0.0.1',
    port: 8080,
    taggedAddresses: {},
    meta: {},
    modifyIndex: 1,
    checks: [{ id: 'serfHealth', status: 'passing' }],
    ...over,
  };
}
