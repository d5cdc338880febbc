import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { AgentOptions, IntentionVerdict } from '@meshgate/consul-source';
import { checkPeers, intentionsTo, rootFinding } from '@meshgate/consul-source';
import { meshOptionsOf, parseMeshConfig, readMesh } from '@meshgate/mesh-files';
import type { Mesh, MeshConfig } from '@meshgate/mesh-files';
import { baseDirOf } from '../config/base-dir.ts';
import { isMesh } from '../config/built-in.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import { agentsOf } from '../live-check/live-check.ts';
import type { Finding } from '../live-check/finding.ts';

/** Sources of mesh data besides routes: Consul agents, and folders of mesh files. */
export interface ControlPlane {
  readonly agents: readonly AgentOptions[];
  readonly meshes: readonly MeshFolder[];
}

/** A folder of mesh files without problems. */
interface MeshFolder {
  readonly baseDir: string;
  readonly config: MeshConfig;
  readonly mesh: Mesh;
}

/** A configuration without agents and mesh files. */
export const NO_CONTROL_PLANE: ControlPlane = { agents: [], meshes: [] };

/** Returns the control plane of a configuration. Skips unreadable mesh files, which have their own finding. */
export async function controlPlaneOf(loaded: LoadedConfig): Promise<ControlPlane> {
  const { file, config } = loaded;
  const baseDir = baseDirOf(file);
  const folders = config.sources.filter(({ use, settings }) => use === 'file' && isMesh(settings));
  const meshes = folders.map(async ({ settings }): Promise<readonly MeshFolder[]> => {
    try {
      const parsed = parseMeshConfig(settings);
      return [{ baseDir, config: parsed, mesh: await readMesh(meshOptionsOf(parsed, baseDir).folder, parsed) }];
    } catch {
      return [];
    }
  });
  return { agents: agentsOf(loaded), meshes: (await Promise.all(meshes)).flat() };
}

/**
 * Returns findings for each peer: state of the peering, replicated services, and expiry of its roots.
 *
 * @param only the peer to which a name leads; all peers when absent
 */
export async function peerFindings({ agents, meshes }: ControlPlane, only?: string): Promise<readonly Finding[]> {
  const ofAgents = await Promise.all(agents.map((agent) => checkPeers(agent)));
  const ofMeshes = await Promise.all(meshes.map(peersInFiles));
  const isSelected = ({ peer }: { readonly peer?: string }): boolean =>
    only === undefined || peer === undefined || peer === only;
  return [...ofAgents, ...ofMeshes].flat().filter(isSelected);
}

/** Checks the peers in mesh files. A peering is established once the files of both clusters exist. */
async function peersInFiles({ baseDir, config, mesh }: MeshFolder) {
  const { peers = [], imports = [], exports = [] } = mesh.catalogs.get(mesh.datacenter)?.peering ?? {};
  const findings = peers.map(async ({ name }) => {
    const imported = imports.filter(({ peer }) => peer === name);
    const counts = `imports ${imported.length}, exports ${exports.filter((one) => one.peers.includes(name)).length}`;
    const established: Finding = { check: `peer ${name}`, outcome: 'ok', found: `of mesh files, ${counts}` };
    const roots = await rootsInFile(name, config, baseDir);
    return [established, ...roots].map((finding) => ({ peer: name, ...finding }));
  });
  return (await Promise.all(findings)).flat();
}

/** Checks the file with a peer's roots. Only sidecars need it, so it may be missing. */
async function rootsInFile(peer: string, { peers = {} }: MeshConfig, baseDir: string): Promise<readonly Finding[]> {
  const { ca } = peers[peer] ?? {};
  if (ca === undefined) return [];
  try {
    return [rootFinding(peer, [await readFile(resolve(baseDir, ca), 'utf8')], new Date())];
  } catch (reason) {
    const found = `cannot be read: ${reason instanceof Error ? reason.message : String(reason)}`;
    return [{ check: `roots of peer ${peer}`, outcome: 'failed', found, advice: 'write them there, in PEM' }];
  }
}

/**
 * Returns the intentions with `service` as their destination, from the first part of the control plane that has them.
 */
export async function intentionsFor({ agents, meshes }: ControlPlane, service: string): Promise<IntentionVerdict> {
  const [agent] = agents;
  const [folder] = meshes;
  if (agent !== undefined) return intentionsTo(agent, service);
  if (folder === undefined) return { kind: 'unknown', why: 'there is neither an agent nor a mesh file' };
  const covering = folder.mesh.entries.intentions.filter((one) => [service, ANY].includes(one.destination));
  const rank = (one: (typeof covering)[number]): number =>
    (one.destination === ANY ? 2 : 0) + (one.source === ANY ? 1 : 0);
  const intentions = covering.toSorted((one, other) => rank(one) - rank(other));
  return { kind: 'known', intentions };
}

const ANY = '*';
