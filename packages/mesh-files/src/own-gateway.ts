import type { Problem } from '@meshgate/core';
import type { GatewayDefinition } from '@meshgate/mesh';
import type { Mesh } from './mesh.ts';

/** The gateway of the local datacenter that this process runs as. */
export interface OwnGateway {
  /** Absent when the mesh does not define it: a gateway can route without its own definition. */
  readonly definition?: GatewayDefinition;
  /** Warnings for log and status. */
  readonly warnings: readonly string[];
  /** Set when the gateway is ambiguous or missing. Only possible before one was selected. */
  readonly problem?: Problem;
}

/**
 * Selects the own gateway in each new version of the mesh: the one with the id `chosen`, otherwise the only one there is. Once
 * selected it stays selected: a second gateway never replaces it, in whichever order their files appear.
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
      return { definition, warnings: isAmbiguous ? [`${several(datacenter, ids)}; this one is still ${id}`] : [] };
    }
    if (chosen !== undefined) return { warnings: [missing(chosen, mesh)] };
    if (ids.length === 0) return { warnings: [] };
    if (last === undefined) return unclear(datacenter, ids);
    const kept = `; ${last.id} is not among them and keeps its last definition`;
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
