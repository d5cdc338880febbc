import { basename } from 'node:path';
import type { Problem } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import type { CatalogService, ConfigEntries, Instance, Selection, ServiceResolver } from '@meshgate/mesh';
import { type Filterable, parseFilter } from './filter.ts';
import type { LooseCheck } from './checks.ts';
import { type MeshFile, problemWith } from './mesh-file.ts';
import type { ServiceDefinition } from './registration.ts';

/** A definition, with the instance made from it. */
export interface Member {
  readonly registration: ServiceDefinition;
  readonly instance: Instance;
  /** Input of a subset's filter. */
  readonly filterable: Filterable;
}

/** The services that are defined in one datacenter. */
export interface Members {
  readonly members: readonly Member[];
  readonly problems: readonly Problem[];
  /** Problems of parts without effect. */
  readonly warnings: readonly Problem[];
}

/** Default address of a definition: this host. Consul uses the address of the agent's node. */
export const THIS_MACHINE = '127.0.0.1';

/**
 * Converts the definitions in a datacenter's files to instances, in steps. Assigns ports to sidecars without one, in
 * the order of their ids.
 */
export function* membersOf(files: readonly MeshFile[], datacenter: string): Generator<void, Members> {
  const written = files.flatMap((file) => file.registrations).toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const loose = files.flatMap((file) => file.checks);
  const registrations = withLooseChecks(written, loose);
  yield;
  const { ports, problems } = sidecarPorts(registrations);
  const members: Member[] = [];
  for (const one of registrations) {
    const registration = { ...one, port: ports.get(one) ?? one.port };
    const instance = instanceOf(registration);
    members.push({ registration, instance, filterable: filterableOf(registration, datacenter) });
    yield;
  }
  const warnings = withoutService(loose, registrations);
  return { members, problems, warnings };
}

/**
 * Returns each service for the local catalog, in steps: every name that is defined, or is the destination of a proxy.
 */
export function* servicesOf(
  members: readonly Member[],
  { resolvers }: ConfigEntries,
): Generator<void, readonly CatalogService[]> {
  const byName = connectMembers(members);
  yield;
  const names = new Set(members.flatMap(({ registration }) => namesOf(registration)));
  yield;
  const services: CatalogService[] = [];
  for (const name of [...names].toSorted()) {
    services.push(serviceOf(name, byName.get(name) ?? [], resolvers.get(name)));
    yield;
  }
  return services;
}

/** Returns the Connect endpoints of each service: its proxies, and the service itself when it is Connect-native. */
export function connectMembers(members: readonly Member[]): ReadonlyMap<string, readonly Member[]> {
  const byName = new Map<string, Member[]>();
  for (const member of members) {
    const name = connectName(member.registration);
    const known = byName.get(name);
    if (known !== undefined) known.push(member);
    else if (name !== '') byName.set(name, [member]);
  }
  return byName;
}

/** Returns the service for which a definition is a Connect endpoint; `''` for none. */
function connectName({ kind, proxy, native, name }: ServiceDefinition): string {
  if (kind === 'connect-proxy') return proxy?.destination ?? '';
  return native ? name : '';
}

/** Returns the `members` that `filter` selects. */
export function selection(filter: string, members: readonly Member[]): Selection {
  const parsed = parseFilter(filter);
  if (parsed.kind === 'refused') return parsed;
  const selected = members.filter(({ filterable }) => parsed.selects(filterable));
  return { kind: 'selected', instances: selected.map(({ instance }) => instance) };
}

/**
 * Adds the checks at the top level of files, as an agent does: each applies to the service that it names, and so to its
 * sidecar.
 */
function withLooseChecks(
  registrations: readonly ServiceDefinition[],
  loose: readonly LooseCheck[],
): readonly ServiceDefinition[] {
  if (loose.length === 0) return registrations;
  return registrations.map((registration) => {
    const { id, healthOf, checks } = registration;
    const added = loose.filter(({ serviceId }) => serviceId === id || serviceId === healthOf);
    return { ...registration, checks: [...checks, ...added.map(({ check }) => check)] };
  });
}

/** Reports checks without a service, which Consul's agent rejects at registration. */
function withoutService(loose: readonly LooseCheck[], registrations: readonly ServiceDefinition[]): readonly Problem[] {
  const ids = new Set(registrations.map(({ id }) => id));
  return loose
    .filter(({ serviceId }) => serviceId !== '' && !ids.has(serviceId))
    .map(({ field, serviceId }) => problemWith(field, `this check has no effect: there is no service ${serviceId}`));
}

/** The port range from which Consul's agents assign ports to sidecars. */
const FIRST_SIDECAR_PORT = 21_000;
const LAST_SIDECAR_PORT = 21_255;

interface SidecarPorts {
  readonly ports: ReadonlyMap<ServiceDefinition, number>;
  readonly problems: readonly Problem[];
}

function sidecarPorts(registrations: readonly ServiceDefinition[]): SidecarPorts {
  const used = new Set(registrations.map(({ port }) => port));
  const ports = new Map<ServiceDefinition, number>();
  const problems: Problem[] = [];
  let next = FIRST_SIDECAR_PORT;
  for (const registration of registrations) {
    if (registration.kind !== 'connect-proxy' || registration.port !== 0) continue;
    while (used.has(next)) next += 1;
    if (next > LAST_SIDECAR_PORT) problems.push(problemWith(registration.field, PORTS_EXHAUSTED));
    else ports.set(registration, next);
    used.add(next);
  }
  return { ports, problems };
}

const PORTS_EXHAUSTED = `expected a port: those from ${FIRST_SIDECAR_PORT} to ${LAST_SIDECAR_PORT} are assigned to other sidecars`;

function namesOf({ kind, name, proxy }: ServiceDefinition): readonly string[] {
  if (kind === 'connect-proxy') return proxy === undefined || proxy.destination === '' ? [] : [proxy.destination];
  return kind === '' ? [name] : [];
}

function serviceOf(name: string, connect: readonly Member[], resolver: ServiceResolver | undefined): CatalogService {
  const subsets = Object.entries(resolver?.subsets ?? {});
  return {
    name,
    instances: connect.map(({ instance }) => instance),
    ...defined({ resolver }),
    selections: Object.fromEntries(subsets.map(([subset, { filter }]) => [subset, selection(filter, connect)])),
  };
}

function instanceOf(registration: ServiceDefinition): Instance {
  const { id, name, kind, address, port, taggedAddresses, weights, meta, checks } = registration;
  return {
    id,
    service: name,
    kind,
    node: nodeOf(registration),
    nodeAddress: THIS_MACHINE,
    nodeTaggedAddresses: {},
    address,
    port,
    taggedAddresses,
    ...defined({ weights }),
    meta,
    modifyIndex: 0,
    checks,
  };
}

/** Uses the name of the file in place of a node, which mesh files do not have. */
function nodeOf({ field }: ServiceDefinition): string {
  return basename(field.at?.file ?? 'mesh');
}

/** Returns the fields of Consul's response that a filter may use. */
function filterableOf(registration: ServiceDefinition, datacenter: string): Filterable {
  const { id, name, kind, address, port, taggedAddresses, weights, meta, tags, checks, native, proxy } = registration;
  const tagged = Object.entries(taggedAddresses).map(([tag, at]) => [tag, { Address: at.address, Port: at.port ?? 0 }]);
  const node = nodeOf(registration);
  return {
    Node: { ID: '', Node: node, Address: THIS_MACHINE, Datacenter: datacenter, Meta: {}, TaggedAddresses: {} },
    Service: {
      ID: id,
      Service: name,
      Kind: kind,
      Address: address,
      Port: port,
      Tags: tags,
      Meta: meta,
      TaggedAddresses: Object.fromEntries(tagged) as unknown,
      Weights: { Passing: weights?.passing ?? 1, Warning: weights?.warning ?? 1 },
      EnableTagOverride: false,
      Proxy: { DestinationServiceName: proxy?.destination ?? '', DestinationServiceID: proxy?.destinationId ?? '' },
      Connect: { Native: native },
    },
    Checks: checks.map((check) => ({
      CheckID: check.id,
      Name: check.name,
      Node: node,
      Notes: check.notes,
      Output: '',
      ServiceID: id,
      ServiceName: name,
      ServiceTags: tags,
      Status: check.status,
    })),
  };
}
