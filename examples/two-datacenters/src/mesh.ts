// The gateways and sidecars of a demonstration, each a `meshgate` process.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { apiOf } from './agents.ts';
import type { Company } from './company.ts';
import { eventually } from './eventually.ts';
import type { Attempt } from './eventually.ts';
import type { Form } from './options.ts';
import { GATEWAYS, REQUESTS, SERVICES } from './picture.ts';
import type { Datacenter, Gateway, Service } from './picture.ts';
import type { Program } from './program.ts';
import type { Stage } from './folder.ts';

/** A running gateway. */
export interface RunningGateway {
  readonly datacenter: Datacenter;
  readonly program: Program;
  readonly admin: string;
  /** Its addresses for its own datacenter and for the other. */
  readonly addresses: readonly Endpoint[];
}

/** A running sidecar. */
export interface RunningSidecar {
  readonly service: Service;
  readonly program: Program;
  readonly admin: string;
  /** Its address for the rest of the mesh. */
  readonly address: Endpoint;
}

/** Everything that carries requests. */
export interface Mesh {
  readonly gateways: readonly RunningGateway[];
  readonly sidecars: readonly RunningSidecar[];
}

/** Starts every gateway and every sidecar. See {@link untilReady}. */
export function startMesh(form: Form, stage: Stage, company: Company): Mesh {
  const start = (name: string, args: readonly string[]): Program =>
    company.start(name, process.execPath, [MESHGATE, ...args]);
  return {
    gateways: GATEWAYS.map((gateway) => ({
      datacenter: gateway.datacenter,
      program: start(`gateway of ${gateway.datacenter}`, ['gateway', ...argsOf(gateway, form, stage)]),
      admin: urlOf(gateway.admin, stage),
      addresses: [stage.at(gateway.lan), stage.at(gateway.wan)],
    })),
    sidecars: SERVICES.map((service) => ({
      service,
      program: start(`sidecar of ${service.name}`, [
        'sidecar',
        '--sidecar-for',
        service.name,
        ...argsOf(service, form, stage),
      ]),
      admin: urlOf(service.admin, stage),
      address: stage.at(service.sidecar),
    })),
  };
}

/** Waits until each listens, and has a healthy backend for every route that it needs. */
export async function untilReady({ gateways, sidecars }: Mesh, signal: AbortSignal): Promise<void> {
  await Promise.all([
    ...gateways.map(({ program, admin, datacenter }) => {
      const ready = (): Promise<Attempt<true>> => readiness(admin, routesOfGateway(datacenter), 2);
      return eventually(`the ${program.name} to be ready`, READY_MS, signal, ready);
    }),
    ...sidecars.map(({ program, admin, service }) => {
      const upstreams = routesOfSidecar(service);
      const ready = (): Promise<Attempt<true>> => readiness(admin, upstreams, 1 + upstreams.length);
      return eventually(`the ${program.name} to be ready`, READY_MS, signal, ready);
    }),
  ]);
}

const MESHGATE = fileURLToPath(new URL('../../../apps/gateway/dist/main.js', import.meta.url));

// Consul's checks and updates from the other datacenter take some seconds; a busy machine may need longer.
const READY_MS = 60_000;

/** With Consul the agent provides everything, and no file is needed. */
function argsOf(one: Gateway | Service, form: Form, stage: Stage): readonly string[] {
  if (form === 'consul')
    return ['--http-addr', apiOf(one.datacenter, stage), '--admin-bind', formatEndpoint(stage.at(one.admin))];
  const file = 'name' in one ? one.name : `gateway-${one.datacenter}`;
  return ['--config', join(stage.folder, 'config', `${file}.yaml`)];
}

function urlOf(address: Endpoint, stage: Stage): string {
  return `http://${formatEndpoint(stage.at(address))}`;
}

/** Prefixes of route names. */
function routesOfGateway(datacenter: Datacenter): readonly string[] {
  const own = SERVICES.filter((one) => one.datacenter === datacenter).map(({ name }) => `service:${name}`);
  const others = GATEWAYS.filter((one) => one.datacenter !== datacenter).map((one) => `datacenter:${one.datacenter}`);
  return [...own, ...others];
}

function routesOfSidecar({ name }: Service): readonly string[] {
  return REQUESTS.filter(({ from }) => from === name).map(({ to }) => `upstream:${to}`);
}

interface RoutesResponse {
  readonly routes: readonly { readonly name: string; readonly backends: readonly { readonly healthy: boolean }[] }[];
}

interface ListenersResponse {
  readonly listeners: readonly { readonly name: string; readonly bound: boolean }[];
}

/** @param addresses number of its listeners */
async function readiness(admin: string, wanted: readonly string[], addresses: number): Promise<Attempt<true>> {
  const { ready, reasons } = (await query(admin, '/ready')) as { ready: boolean; reasons: readonly string[] };
  if (!ready) return { missing: reasons.join(', ') };
  const { listeners } = (await query(admin, '/listeners')) as ListenersResponse;
  const bound = listeners.filter((one) => one.bound).map(({ name }) => name);
  if (bound.length < addresses) return { missing: `${bound.length} of ${addresses} listeners: ${bound.join(', ')}` };
  const { routes } = (await query(admin, '/routes')) as RoutesResponse;
  const isServed = (name: string): boolean =>
    routes.some(
      (route) =>
        (route.name === name || route.name.startsWith(`${name}@`)) && route.backends.some(({ healthy }) => healthy),
    );
  const unserved = wanted.filter((name) => !isServed(name));
  return unserved.length > 0 ? { missing: `no healthy backend of ${unserved.join(', ')}` } : { done: true };
}

async function query(admin: string, path: string): Promise<unknown> {
  const response = await fetch(`${admin}${path}`, { signal: AbortSignal.timeout(RESPONSE_MS) });
  return response.json();
}

const RESPONSE_MS = 5_000;
