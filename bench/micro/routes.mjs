/** As many as the largest meshes have services, or a hosting provider has customers. */
export const ROUTES = 100_000;

/**
 * Half of the routes with an exact name, half with a suffix.
 *
 * @param {number} generation routes of different generations have different backends
 * @returns {import('@meshgate/core').RouteSnapshot}
 */
export function manyRoutes(generation) {
  const routes = Array.from({ length: ROUTES }, (_, index) => ({
    name: `route-${index}`,
    serverNames: [index % 2 === 0 ? `service-${index}.mesh.example` : `*.zone-${index}.apps.example`],
    backends: [{ address: { host: `10.${generation & 255}.0.1`, port: 8443 }, weight: 1, healthy: true }],
  }));
  return { version: `${generation}`, routes };
}
