import { deriveRoutes } from '@meshgate/mesh';
import type { Catalog, Instance } from '@meshgate/mesh';

const sidecar: Instance = {
  id: 'db-sidecar',
  service: 'db-sidecar-proxy',
  kind: 'connect-proxy',
  node: 'node-1',
  nodeAddress: '10.0.0.5',
  nodeTaggedAddresses: {},
  address: '',
  port: 20_000,
  taggedAddresses: {},
  meta: {},
  modifyIndex: 1,
  checks: [{ id: 'serfHealth', status: 'passing' }],
};

const catalog: Catalog = {
  datacenter: 'dc1',
  trustDomain: '11111111-2222-3333-4444-555555555555.consul',
  dnsDomain: 'consul',
  services: [{ name: 'db', instances: [sidecar], selections: {} }],
  gateways: [],
  servers: [],
};

export const { routes, problems } = deriveRoutes(catalog, { wanFederation: false });
// One route, `service:db`, for db.default.dc1.internal.11111111-2222-3333-4444-555555555555.consul, to 10.0.0.5:20000.
