// Everything registered in the datacenter, from one coarse query. It shows which services have changed, so that the
// precise, documented health query is repeated for those services only.
import { createHash } from 'node:crypto';
import type { ImportedService } from '@meshgate/mesh';
import { elementsOf, list, number, object, objects, text } from './json.ts';
import type { JsonObject } from './json.ts';
import { importedNamesOn, importsOn, joinedImports } from './peering/peering-records.ts';
import { CONSUL, serviceKey } from './records.ts';

/** A name in the datacenter's list of services. */
export interface ListedService {
  readonly name: string;
  readonly namespace: string;
  /**
   * Digest of everything that determines the service's Connect health, except gateway links: equal digests mean equal
   * results. Empty without a Connect instance. `undefined` when it is not known, so that the service must be queried.
   */
  readonly digest: string | undefined;
}

/** All registrations of the datacenter. */
export interface Inventory {
  /** Every name, by `namespace/name`: Consul routes to any name with a Connect instance, even the name of a proxy. */
  readonly services: ReadonlyMap<string, ListedService>;
  /** Digests of terminating gateways, by {@link indexKey}. */
  readonly terminatingGateways: ReadonlyMap<string, string>;
  /** No node is visible. Every datacenter has nodes, so the token may not read them. */
  readonly blind: boolean;
  /** Keys of instances ({@link instanceKey}), by instance id. */
  readonly instances: ReadonlyMap<string, readonly string[]>;
  /** Consul's own servers are not visible. Every datacenter has them, so the token may not read all services. */
  readonly partial: boolean;
  /** Services that peers export to this cluster. */
  readonly imports: readonly ImportedService[];
}

/**
 * Parses `internal/ui/nodes`, the list of all nodes with their services and checks. Returns `undefined` for another
 * format.
 */
export function inventoryOfNodes(json: unknown): Inventory | undefined {
  if (!Array.isArray(json)) return undefined;
  const inventory = new InventoryBuilder();
  for (const node of objects(json)) inventory.add(node);
  return inventory.build();
}

/**
 * Like {@link inventoryOfNodes}, but reads the body of a response node by node, so that the caller can yield in
 * between: a response for thousands of services has millions of characters.
 */
export function* readingNodes(json: string): Generator<void, Inventory | undefined> {
  if (!json.trimStart().startsWith('[')) return undefined;
  const inventory = new InventoryBuilder();
  try {
    for (const element of elementsOf(json)) {
      const node = object(JSON.parse(element));
      if (node !== undefined) inventory.add(node);
      yield;
    }
  } catch {
    return undefined;
  }
  return inventory.build();
}

class InventoryBuilder {
  readonly #names = new Map<string, Pick<ListedService, 'name' | 'namespace'>>();
  readonly #digests = new Map<string, string[]>();
  readonly #gateways = new Map<string, string[]>();
  readonly #instances = new Map<string, string[]>();
  readonly #imports: ImportedService[] = [];
  readonly #importedNames = new Set<string>();
  #nodes = 0;

  /** Keeps imports from a peer apart from this datacenter. */
  add(node: JsonObject): void {
    if (text(node['PeerName'])) {
      this.#imports.push(...importsOn(node));
      for (const name of importedNamesOn(node)) this.#importedNames.add(name);
      return;
    }
    this.#nodes += 1;
    for (const { service, namespace, kind, proxiedService, digest, id, instance } of entriesOf(node)) {
      this.#names.set(serviceKey(service, namespace), { name: service, namespace });
      push(this.#instances, id, instance);
      if (kind === TERMINATING_GATEWAY) push(this.#gateways, indexKey(service, namespace), digest);
      if (proxiedService !== '') push(this.#digests, indexKey(proxiedService, namespace), digest);
    }
  }

  build(): Inventory {
    const digestOfName = ({ name, namespace }: Pick<ListedService, 'name' | 'namespace'>): string =>
      this.#digests.get(indexKey(name, namespace))?.join(';') ?? '';
    return {
      services: new Map(Array.from(this.#names, ([key, name]) => [key, { ...name, digest: digestOfName(name) }])),
      terminatingGateways: new Map(Array.from(this.#gateways, ([key, parts]) => [key, parts.join(';')])),
      instances: this.#instances,
      blind: this.#nodes === 0,
      partial: !this.#names.has(serviceKey(CONSUL, '')),
      imports: joinedImports(this.#imports, this.#importedNames),
    };
  }
}

/** Parses `catalog/services`, which has names only. Returns `undefined` for another format. */
export function inventoryOfNames(json: unknown): Inventory | undefined {
  const names = object(json);
  if (names === undefined) return undefined;
  const services = Object.keys(names).map(
    (name) => [serviceKey(name, ''), { name, namespace: '', digest: undefined }] as const,
  );
  const unknown = { terminatingGateways: new Map<string, string>(), instances: new Map<string, readonly string[]>() };
  return { ...unknown, services: new Map(services), blind: false, partial: !(CONSUL in names), imports: [] };
}

/** Returns the services linked to each terminating gateway (`*` for all), by {@link indexKey}. */
export function linksOf(entries: readonly JsonObject[]): ReadonlyMap<string, readonly string[]> {
  return new Map(
    entries.map((entry) => [
      indexKey(text(entry['Name']), text(entry['Namespace'])),
      objects(entry['Services']).map((link) => indexKey(text(link['Name']), text(link['Namespace']))),
    ]),
  );
}

/**
 * Returns a digest of everything that determines each service's result: its own digest, and those of linked terminating
 * gateways with the link, since Consul decides which names a wildcard covers.
 */
export function digestsOf(
  { services, terminatingGateways }: Inventory,
  links: ReadonlyMap<string, readonly string[]>,
): ReadonlyMap<string, string | undefined> {
  const linked = new Map<string, string[]>();
  for (const [gateway, names] of links) {
    const digest = terminatingGateways.get(gateway);
    if (digest !== undefined) for (const name of names) push(linked, name, `${name}: ${digest}`);
  }
  const completeDigest = ({ name, namespace, digest }: ListedService): string | undefined => {
    const gateways = [name, '*'].flatMap((pattern) => linked.get(indexKey(pattern, namespace)) ?? []);
    return digest === undefined ? undefined : [digest, ...gateways].join('|');
  };
  return new Map(Array.from(services, ([key, listed]) => [key, completeDigest(listed)]));
}

/**
 * Returns the name in the form of Consul's own indexes, which ignore case: the result for a name depends on
 * registrations under every spelling.
 */
function indexKey(service: string, namespace: string): string {
  return serviceKey(service, namespace).toLowerCase();
}

/** Distinguishes instances with the same id, by fields that agents and servers both show. */
export function instanceKey({ Address: address, Port: port }: JsonObject): string {
  return `${text(address)}:${number(port)}`;
}

const TERMINATING_GATEWAY = 'terminating-gateway';

/** The relevant fields of a registration. */
interface Entry {
  readonly service: string;
  readonly namespace: string;
  readonly kind: string;
  /** The destination service of a Connect endpoint; `''` for other services. */
  readonly proxiedService: string;
  readonly digest: string;
  readonly id: string;
  /** See {@link instanceKey}. */
  readonly instance: string;
}

function entriesOf(node: JsonObject): readonly Entry[] {
  const checks = checksByService(node);
  const { Node: name, Address: address, TaggedAddresses: tagged, Meta: meta } = node;
  const location = digestOf(JSON.stringify([name, address, tagged, meta, checks.get('')]));
  return objects(node['Services']).map((service) => {
    const kind = text(service['Kind']);
    const proxiedService = proxiedServiceOf(service, kind);
    const id = text(service['ID']);
    // The index of the last change stands for the whole registration: address, port, weights, meta, tags.
    const digest = `${location} ${id}@${String(service['ModifyIndex'])}${checks.get(id) ?? ''}`;
    return {
      service: text(service['Service']),
      namespace: text(service['Namespace']),
      kind,
      proxiedService,
      digest,
      id,
      instance: instanceKey(service),
    };
  });
}

/** Hashes to keep the digest short: every service of the node repeats it. */
function digestOf(content: string): string {
  return createHash('sha1').update(content).digest('base64url');
}

function proxiedServiceOf(service: JsonObject, kind: string): string {
  if (kind === 'connect-proxy') return text(object(service['Proxy'])?.['DestinationServiceName']);
  return object(service['Connect'])?.['Native'] === true ? text(service['Service']) : '';
}

/** Returns the ids and states of checks by service id; the node's own under `''`. */
function checksByService(node: JsonObject): ReadonlyMap<string, string> {
  const checks = new Map<string, string>();
  for (const check of list(node['Checks'])) {
    const { CheckID: id, Status: status, ServiceID: service } = object(check) ?? {};
    checks.set(text(service), `${checks.get(text(service)) ?? ''} ${text(id)}=${text(status)}`);
  }
  return checks;
}

function push(map: Map<string, string[]>, key: string, value: string): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}
