// Both clusters, and the addresses in this example's files.
import type { Endpoint } from '@meshgate/core';

/** A cluster, by the other cluster's name for it. */
export type ClusterName = 'alpha' | 'beta';

/** A cluster with its own trust domain, CA and mesh files. */
export interface Cluster {
  readonly name: ClusterName;
  readonly trustDomain: string;
  /** Addresses of its gateway: for itself, for the other cluster, and for its admin API. */
  readonly gateway: { readonly lan: Endpoint; readonly wan: Endpoint; readonly admin: Endpoint };
}

/** A service with its sidecar. */
export interface Service {
  readonly name: string;
  readonly cluster: ClusterName;
  readonly application: Endpoint;
  readonly sidecar: Endpoint;
  readonly admin: Endpoint;
}

/** A request of `web`, whose application connects to its own sidecar at `at`. */
export interface Request {
  readonly to: string;
  readonly at: Endpoint;
  /** The path according to its sidecar: `local-gateway`, `remote-gateway` or `direct`. */
  readonly path: string;
  /** The clusters whose gateways it passes. */
  readonly gateways: readonly ClusterName[];
  /** The cluster whose application responds. */
  readonly from: ClusterName;
}

export const CLUSTERS: readonly [Cluster, Cluster] = [
  {
    name: 'alpha',
    trustDomain: 'aaaaaaaa-2222-3333-4444-555555555555.consul',
    gateway: { lan: at(31_443), wan: at(31_444), admin: at(31_900) },
  },
  {
    name: 'beta',
    trustDomain: 'bbbbbbbb-2222-3333-4444-555555555555.consul',
    gateway: { lan: at(32_443), wan: at(32_444), admin: at(32_900) },
  },
];

/** `web` sends the requests: nobody here calls its application. */
export const SERVICES: readonly Service[] = [
  { name: 'web', cluster: 'alpha', application: at(31_001), sidecar: at(31_101), admin: at(31_901) },
  { name: 'stock', cluster: 'alpha', application: at(31_002), sidecar: at(31_102), admin: at(31_902) },
  { name: 'db', cluster: 'beta', application: at(32_001), sidecar: at(32_101), admin: at(32_901) },
  { name: 'reports', cluster: 'beta', application: at(32_002), sidecar: at(32_102), admin: at(32_902) },
  { name: 'stock', cluster: 'beta', application: at(32_003), sidecar: at(32_103), admin: at(32_903) },
];

const STOCK = { to: 'stock', at: at(31_203) } as const;

/** In this order: the last but one while `stock` is unhealthy in alpha. */
export const REQUESTS = {
  local: { to: 'db', at: at(31_201), path: 'local-gateway', gateways: ['alpha', 'beta'], from: 'beta' },
  remote: { to: 'reports', at: at(31_202), path: 'remote-gateway', gateways: ['beta'], from: 'beta' },
  home: { ...STOCK, path: 'direct', gateways: [], from: 'alpha' },
  failover: { ...STOCK, path: 'local-gateway', gateways: ['alpha', 'beta'], from: 'beta' },
} as const satisfies Readonly<Record<string, Request>>;

/** The files define a sidecar for `secret`, which does not run: it is not exported. */
const SECRET: readonly Endpoint[] = [at(32_004), at(32_104)];

/** Every address to listen on. */
export const LOCATIONS: readonly Endpoint[] = [
  ...CLUSTERS.flatMap(({ gateway }) => Object.values<Endpoint>(gateway)),
  ...SERVICES.flatMap(({ application, sidecar, admin }) => [application, sidecar, admin]),
  ...[REQUESTS.local, REQUESTS.remote, REQUESTS.home].map((request) => request.at),
  ...SECRET,
];

/** The name by which `alpha` requests a service of `beta`. */
export function exportedName(service: string): string {
  return `${service}.default.default.alpha.external.${CLUSTERS[1].trustDomain}`;
}

/** The response of a service's application. */
export function responseOf({ name, cluster }: Pick<Service, 'name' | 'cluster'>): string {
  return `${name} of ${cluster} answers`;
}

function at(port: number): Endpoint {
  return { host: '127.0.0.1', port };
}
