// For gateways and Connect proxies: a mesh without Consul, from files in Consul's own formats.
export { meshListenerSource, meshProxySource, meshSource, readMeshProxy } from './mesh-source.ts';
export type { MeshGatewayOptions, MeshOptions } from './mesh-source.ts';
export { checkMeshSettings, meshFilesPlugin, meshOptionsOf, parseMeshConfig, tlsFilesOf } from './plugin.ts';
export type { CheckedMesh, MeshConfig, PeerConfig, ProxyTlsFiles } from './plugin.ts';
export { readMesh } from './read-mesh.ts';
export { meshProxyView, sidecarsFor } from './mesh.ts';
export type { Mesh, MeshStandpoint, PeerStandpoint, PeerStandpoints } from './mesh.ts';

// Parsers of Consul's languages: HCL, and the filters of service-resolvers.
export { openHcl } from './hcl.ts';
export type { WrittenExport } from './entries.ts';
export { parseFilter } from './filter.ts';
export type { Filterable, ParsedFilter } from './filter.ts';
