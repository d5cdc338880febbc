// For gateways: routes from files.
export { DEFAULT_POLL_MS } from './follow-files.ts';
export { fileSource } from './source.ts';
export type { FileSource, FileSourceOptions } from './source.ts';
export {
  checkFileSettings,
  fileSourceOf,
  fileSourcePlugin,
  meshOptionsOf,
  parseFileSettings,
  parseFileSourceConfig,
  tlsFilesOf,
} from './plugin.ts';
export type { FileSettings, FileSourceConfig, MeshConfig, TlsFiles } from './plugin.ts';
export { readRoutes } from './routes/read-routes.ts';
export { parseRouteFile } from './routes/route-file.ts';
export type { RouteFile } from './routes/route-file.ts';

// For gateways and Connect proxies: a mesh without Consul, from files in Consul's own language.
export { meshListenerSource, meshProxySource, meshSource, readMeshProxy } from './mesh/mesh-source.ts';
export type { MeshGatewayOptions, MeshOptions, ProxyChoice } from './mesh/mesh-source.ts';
export { readMesh } from './mesh/read-mesh.ts';
export { meshProxyView, sidecarsFor } from './mesh/mesh.ts';
export type { Mesh, MeshStandpoint } from './mesh/mesh.ts';

// For other files that are read with the same care: values with the places where they stand.
export { openDocument, openValue } from './document.ts';
export type { Opened } from './document.ts';
export { DURATION_FORM, MAX_TIMER_MS, parseDuration } from './duration.ts';
export type { Field, FieldEntry, Parsed, Place } from './field.ts';
export { openHcl } from './mesh/hcl.ts';
