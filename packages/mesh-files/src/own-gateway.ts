import type { Problem } from '@meshgate/core';
import type { GatewayDefinition } from '@meshgate/mesh';
import type { Mesh } from './mesh.ts';

/** The gateway of the local datacenter that this process serves as. */
export interface OwnGateway {
  /** Absent when the mesh does not define the gateway, which can route nevertheless. */
  readonly definition?: GatewayDefinition;
  /** Warnings for log and status. */
  readonly warnings: readonly string[];
  /** Set when the gateway is ambiguous or missing, which is possible only until one has been selected. */
  readonly problem?: Problem;
}

/**
 * Creates a function that selects this process's gateway in each version of the mesh: the one with the id `chosen`,
 * else the only one. The selection is permanent: a second gateway never replaces the first, in whatever order their
 * files appear.
 */
export function gatewayChooser(chosen: string | undefined): (mesh: Mesh) => OwnGateway {
  let last: { readonly id: string; readonly definition: GatewayDefinition } | undefined;
  return (mesh) => {
    const { gateways, datacenter } = mesh;
    const ids = [...gateways.keys()];
    const id = chosen ?? idOf(ids, last?.id);
    const definition = id === undefined ? undefined : gateways.get(id);
    if (id !== undefined && definition !== undefined) {
      last = { id, definition };
      const isAmbiguous = chosen === undefined && ids.length > 1;
      return { definition, warnings: isAmbiguous ? [`${several(datacenter, ids)}; this gateway is still ${id}`] : [] };
    }
    if (chosen !== undefined) return { warnings: [missing(chosen, mesh)] };
    if (ids.length === 0) return { warnings: [] };
    if (last === undefined) return unclear(datacenter, ids);
    const kept = `; ${last.id} is not among them, keeping its last definition`;
    return { definition: last.definition, warnings: [`${several(datacenter, ids)}${kept}`] };
  };
}

function unclear(datacenter: string, ids: readonly string[]): OwnGateway {
  const message = several(datacenter, ids);
  return { warnings: [message], problem: { path: ['gateway'], message } };
}

function idOf(ids: readonly string[], last: string | undefined): string | undefined {
  if (last !== undefined && ids.includes(last)) return last;
  return ids.length === 1 ? ids[0] : undefined;
}

function several(datacenter: string, ids: readonly string[]): string {
  return `expected one mesh-gateway in datacenter ${datacenter}, found ${ids.join(', ')}: select one with the setting "gateway"`;
}

function missing(id: string, { datacenter, gateways }: Mesh): string {
  const found = [...gateways.keys()].join(', ') || 'none';
  return `expected a mesh-gateway with the id ${id} in datacenter ${datacenter}; gateways found: ${found}`;
}
