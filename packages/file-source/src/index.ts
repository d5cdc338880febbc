// For gateways: routes from files.
export { DEFAULT_POLL_MS, fileSource } from './source.ts';
export type { FileSource, FileSourceOptions } from './source.ts';
export { fileSourceOf, fileSourcePlugin, parseFileSourceConfig } from './plugin.ts';
export type { FileSourceConfig } from './plugin.ts';
export { readRoutes } from './routes/read-routes.ts';
export { parseRouteFile } from './routes/route-file.ts';
export type { RouteFile } from './routes/route-file.ts';

// For other files that are read with the same care: values with the places where they stand.
export { openDocument, openValue } from './document.ts';
export type { Opened } from './document.ts';
export { DURATION_FORM, MAX_TIMER_MS, parseDuration } from './duration.ts';
export type { Field, Parsed, Place } from './field.ts';
