import type { Consul } from './real-consul.ts';

/** Overrides for a sidecar; by default on its own node, passing, at 10.0.0.1. */
export interface Registration {
  readonly copy?: number;
  readonly address?: string;
  readonly node?: string;
  readonly wan?: string;
  readonly status?: string;
  readonly nodeStatus?: string;
  readonly weights?: readonly [passing: number, warning: number];
  readonly meta?: Readonly<Record<string, string>>;
}

export async function register(consul: Consul, service: string, over: Registration): Promise<void> {
  const { copy = 1, address = '10.0.0.1', status = 'passing', nodeStatus = 'passing', weights, wan, meta = {} } = over;
  const location = { Node: `node-${service}-${copy}`, Address: over.node ?? '10.9.0.1' };
  const id = `${service}-${copy}-proxy`;
  await consul.put('catalog/register', {
    ...location,
    Service: { ID: `${service}-${copy}`, Service: service, Port: 80 },
  });
  await consul.put('catalog/register', {
    ...location,
    Service: {
      ...proxyOf(service),
      ID: id,
      Address: address,
      Meta: meta,
      ...(weights === undefined ? {} : { Weights: { Passing: weights[0], Warning: weights[1] } }),
      ...(wan === undefined ? {} : { TaggedAddresses: { wan: { Address: wan, Port: 443 } } }),
    },
    Checks: [
      { Node: location.Node, CheckID: `${id}-up`, Name: 'up', ServiceID: id, Status: status },
      { Node: location.Node, CheckID: 'node-up', Name: 'up', Status: nodeStatus },
    ],
  });
}

/** The registration of a sidecar without an address. */
export function proxyOf(service: string): object {
  return {
    Service: `${service}-sidecar-proxy`,
    Kind: 'connect-proxy',
    Port: 20_000,
    Proxy: { DestinationServiceName: service },
  };
}

/** A registration on a node of its own. */
export function node(name: string, service: object): object {
  return { Node: `node-${name}`, Address: '10.9.0.1', Service: service };
}
