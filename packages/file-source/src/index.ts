// For gateways: routes from files.
export { fileSource } from './source.ts';
export type { FileSourceOptions } from './source.ts';
export { checkFileSettings, fileSourceOf, fileSourcePlugin, parseFileSourceConfig } from './plugin.ts';
export type { FileSourceConfig } from './plugin.ts';
export { readRoutes } from './routes/read-routes.ts';
export { parseRouteFile } from './routes/route-file.ts';
export type { RouteFile } from './routes/route-file.ts';
export { DEFAULT_POLL_MS } from '@meshgate/documents';
export type { FileSource } from '@meshgate/documents';
