// What is registered in the datacenter, from one coarse query: enough to know which service has changed, so that only its precise,
// documented health query is repeated.
import { createHash } from 'node:crypto';
import type { ImportedService } from '@meshgate/mesh';
import { elementsOf, list, number, object, objects, text } from './json.ts';
import type { JsonObject } from './json.ts';
import { importedNamesOn, importsOn, joinedImports } from './peering/peering-records.ts';
import { serviceKey } from './records.ts';

/** A name in the datacenter's list of services. */
export interface ListedService {
  readonly name: string;
  readonly namespace: string;
  /**
   * A digest of everything that its Connect health can depend on, gateway links aside: equal digests mean equal results. Empty without
   * a Connect instance. `undefined`: not known, query it.
   */
  readonly digest: string | undefined;
}

/** Everything that is registered. */
export interface Inventory {
  /** Every name, by `namespace/name`: Consul routes to any name with a Connect instance, even to the name of a proxy. */
  readonly services: ReadonlyMap<string, ListedService>;
  /** Terminating gateways and their digests, by {@link indexKey}. */
  readonly terminatingGateways: ReadonlyMap<string, string>;
  /** No node is visible. Every datacenter has nodes: the token may not read them. */
  readonly blind: boolean;
  /** Distinguishes instances, see {@link instanceKey}, by their id. */
  readonly instances: ReadonlyMap<string, readonly string[]>;
  /** Consul's own servers are not visible. Every datacenter has them: the token may not read all services. */
  readonly partial: boolean;
  /** What peers export to this cluster. */
  readonly imports: readonly ImportedService[];
}

/** Parses `internal/ui/nodes`: every node with its services and checks. `undefined` for another format. */
export function inventoryOfNodes(json: unknown): Inventory | undefined {
  if (!Array.isArray(json)) return undefined;
  const inventory = new InventoryBuilder();
  for (const node of objects(json)) inventory.add(node);
  return inventory.build();
}

/**
 * {@link inventoryOfNodes} from the body of a response, node by node, so that the caller can yield in between: the response for
 * thousands of services has millions of characters.
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

  /** Imports from a peer are not part of this datacenter. */
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

/** Parses `catalog/services`: only names, without what is behind them. `undefined` for another format. */
export function inventoryOfNames(json: unknown): Inventory | undefined {
  const names = object(json);
  if (names === undefined) return undefined;
  const services = Object.keys(names).map(
    (name) => [serviceKey(name, ''), { name, namespace: '', digest: undefined }] as const,
  );
  const unknown = { terminatingGateways: new Map<string, string>(), instances: new Map<string, readonly string[]>() };
  return { ...unknown, services: new Map(services), blind: false, partial: !(CONSUL in names), imports: [] };
}

/** The services behind each terminating gateway: `*` for all. From the list of config entries; by {@link indexKey}. */
export function linksOf(json: unknown): ReadonlyMap<string, readonly string[]> | undefined {
  if (!Array.isArray(json)) return undefined;
  return new Map(
    objects(json).map((entry) => [
      indexKey(text(entry['Name']), text(entry['Namespace'])),
      objects(entry['Services']).map((link) => indexKey(text(link['Name']), text(link['Namespace']))),
    ]),
  );
}

/**
 * What the result of each service depends on: its own digest, and those of the terminating gateways linked to it, with the link:
 * Consul decides which names a wildcard covers.
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
  const whole = ({ name, namespace, digest }: ListedService): string | undefined => {
    const gateways = [name, '*'].flatMap((pattern) => linked.get(indexKey(pattern, namespace)) ?? []);
    return digest === undefined ? undefined : [digest, ...gateways].join('|');
  };
  return new Map(Array.from(services, ([key, listed]) => [key, whole(listed)]));
}

/**
 * A name in the form of Consul's own indexes: names that differ only in case are equal there, so the result for either depends on what
 * is registered for both.
 */
function indexKey(service: string, namespace: string): string {
  return serviceKey(service, namespace).toLowerCase();
}

/** Distinguishes an instance from others with the same id, using what both agents and servers show. */
export function instanceKey({ Address: address, Port: port }: JsonObject): string {
  return `${text(address)}:${number(port)}`;
}

/** The name under which Consul's servers are registered. */
export const CONSUL = 'consul';

const TERMINATING_GATEWAY = 'terminating-gateway';

/** The relevant parts of one registration. */
interface Entry {
  readonly service: string;
  readonly namespace: string;
  readonly kind: string;
  /** The destination service of a Connect endpoint; `''` for none. */
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
    // The index of its last change represents the whole registration: address, port, weights, meta, tags.
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

/** Short, since it is repeated for every service of the node. */
function digestOf(content: string): string {
  return createHash('sha1').update(content).digest('base64url');
}

function proxiedServiceOf(service: JsonObject, kind: string): string {
  if (kind === 'connect-proxy') return text(object(service['Proxy'])?.['DestinationServiceName']);
  return object(service['Connect'])?.['Native'] === true ? text(service['Service']) : '';
}

/** Checks and their status by service id; those of the node itself under `''`. */
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
