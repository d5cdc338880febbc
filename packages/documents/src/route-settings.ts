import type { Backend, Route } from '@meshgate/core';
import { readBackendDrain } from './backend-drain.ts';
import type { Field, Parsed } from './field.ts';
import { readHealthCheck } from './health-check.ts';
import { readAccess, readLimits, readProxyProtocol } from './route-rules.ts';

/** Keys of the settings that a route may have whatever its source. */
export const ROUTE_SETTING_KEYS = {
  access: 'optional',
  limits: 'optional',
  proxyProtocol: 'optional',
  healthCheck: 'optional',
  onBackendRemoved: 'optional',
  onBackendDown: 'optional',
  retryBeforeFirstByte: 'optional',
} as const;

/** Settings that a route may have whatever its source. */
export type RouteSettings = Pick<Route, keyof typeof ROUTE_SETTING_KEYS>;

/** How a source reads {@link RouteSettings}. */
export interface RouteSettingsContext {
  /** Converts a file name, as written, to an absolute path. */
  toPath(name: string): string;
  /** Parses the server name of a health check. */
  parseName(text: string): Parsed<string>;
  /** The backends of the route, which may have settings of their own. */
  readonly backends?: readonly Backend[] | undefined;
}

/** Reads the settings of a route among its `fields`. */
export function readRouteSettings(
  fields: ReadonlyMap<string, Field>,
  { toPath, parseName, backends }: RouteSettingsContext,
): RouteSettings {
  const retries = fields.get('retryBeforeFirstByte')?.boolean() === true;
  return {
    ...(retries && { retryBeforeFirstByte: true }),
    ...readBackendDrain('onBackendRemoved', fields.get('onBackendRemoved')),
    ...readBackendDrain('onBackendDown', fields.get('onBackendDown')),
    ...readHealthCheck(fields.get('healthCheck'), parseName),
    ...readAccess(fields.get('access'), toPath),
    ...readLimits(fields.get('limits')),
    ...readProxyProtocol(fields.get('proxyProtocol'), backends),
  };
}
