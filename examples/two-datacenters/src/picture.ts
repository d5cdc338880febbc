import { parseEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';

/** The datacenters, in the order of the picture. */
export const DATACENTERS = ['primary', 'secondary'] as const;

/** One of {@link DATACENTERS}. */
export type Datacenter = (typeof DATACENTERS)[number];

/** A mesh gateway with its addresses in the example's files. */
export interface Gateway {
  readonly datacenter: Datacenter;
  /** For its own datacenter. */
  readonly lan: Endpoint;
  /** For the other one. */
  readonly wan: Endpoint;
  readonly admin: Endpoint;
}

/** A service and its sidecar, with their addresses in the example's files. */
export interface Service {
  readonly name: string;
  readonly datacenter: Datacenter;
  /** The application's address. Only its sidecar connects to it. */
  readonly application: Endpoint;
  /** The sidecar's address for the rest of the mesh. */
  readonly sidecar: Endpoint;
  readonly admin: Endpoint;
}

/** A Consul agent with its address in its file. */
export interface Agent {
  readonly datacenter: Datacenter;
  readonly http: Endpoint;
  /** Its other ports. */
  readonly others: readonly Endpoint[];
}

/** The expected path of a request. */
export interface Expectation {
  /** `local`, `remote` or `none`. */
  readonly mode: string;
  /** The setting that decides the mode, or why none is needed. */
  readonly decidedBy: string;
  /** The gateways on its path, in order. */
  readonly gateways: readonly Datacenter[];
}

/** A request from `from` to `to`: its application connects to its own sidecar at `at`, in plain text. */
export interface Request {
  readonly from: string;
  readonly to: string;
  readonly at: Endpoint;
  readonly expected: Expectation;
}

export const GATEWAYS: readonly Gateway[] = [
  { datacenter: 'primary', lan: at('127.0.1.1:11443'), wan: at('127.0.9.1:19443'), admin: at('127.0.0.1:19001') },
  { datacenter: 'secondary', lan: at('127.0.2.1:12443'), wan: at('127.0.9.2:29443'), admin: at('127.0.0.1:19002') },
];

export const SERVICES: readonly Service[] = [
  service('web', 'primary', { application: 11_001, sidecar: at('127.0.1.11:21001'), admin: 19_011 }),
  service('orders', 'primary', { application: 11_002, sidecar: at('127.0.1.12:21002'), admin: 19_012 }),
  service('reports', 'primary', { application: 11_003, sidecar: at('127.0.1.13:21003'), admin: 19_013 }),
  service('api', 'secondary', { application: 12_001, sidecar: at('127.0.2.11:22001'), admin: 19_014 }),
  service('db', 'secondary', { application: 12_002, sidecar: at('127.0.2.12:22002'), admin: 19_015 }),
  service('logging', 'secondary', { application: 12_003, sidecar: at('127.0.2.13:22003'), admin: 19_016 }),
];

export const AGENTS: readonly Agent[] = [
  {
    datacenter: 'primary',
    http: at('127.0.1.10:11500'),
    others: [at('127.0.1.10:11300'), at('127.0.1.10:11301'), at('127.0.1.10:11302')],
  },
  {
    datacenter: 'secondary',
    http: at('127.0.2.10:12500'),
    others: [at('127.0.2.10:12300'), at('127.0.2.10:12301'), at('127.0.2.10:12302')],
  },
];

/** Each mode, and each of the four places where one can be set. */
export const REQUESTS: readonly Request[] = [
  request('web', 'api', 10_000, { mode: 'remote', decidedBy: 'service instance', gateways: ['secondary'] }),
  request('web', 'db', 10_001, {
    mode: 'local',
    decidedBy: 'upstream definition',
    gateways: ['primary', 'secondary'],
  }),
  request('web', 'logging', 10_002, { mode: 'none', decidedBy: 'upstream definition', gateways: [] }),
  request('web', 'orders', 10_003, { mode: 'remote', decidedBy: 'same datacenter', gateways: [] }),
  request('orders', 'db', 10_010, { mode: 'remote', decidedBy: 'service defaults', gateways: ['secondary'] }),
  request('reports', 'api', 10_020, {
    mode: 'local',
    decidedBy: 'proxy defaults',
    gateways: ['primary', 'secondary'],
  }),
];

/** The service of that name. */
export function serviceNamed(name: string): Service {
  const found = SERVICES.find((one) => one.name === name);
  if (found === undefined) throw new Error(`expected a service of the example, found ${name}`);
  return found;
}

function service(
  name: string,
  datacenter: Datacenter,
  { application, sidecar, admin }: { application: number; sidecar: Endpoint; admin: number },
): Service {
  return { name, datacenter, application: onLoopback(application), sidecar, admin: onLoopback(admin) };
}

function request(from: string, to: string, port: number, expected: Expectation): Request {
  return { from, to, at: onLoopback(port), expected };
}

function onLoopback(port: number): Endpoint {
  return { host: '127.0.0.1', port };
}

function at(text: string): Endpoint {
  const endpoint = parseEndpoint(text);
  if (endpoint === undefined) throw new Error(`expected IP:PORT, found ${text}`);
  return endpoint;
}
