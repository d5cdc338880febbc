import type { AdminEndpoint, AdminMethod } from './endpoint.ts';

/** The result of routing a request. */
type Routed =
  | {
      readonly kind: 'endpoint';
      readonly endpoint: AdminEndpoint;
      readonly parameters: Readonly<Record<string, string>>;
    }
  /** The path exists, but not with this method. `allow` is the value of the `Allow` header. */
  | { readonly kind: 'wrong method'; readonly allow: readonly string[] }
  | { readonly kind: 'no such path' };

/** Finds the endpoint for a method and a path. */
export type Router = (method: string, path: string) => Routed;

/** Creates a router for `endpoints`. Of two that match, the one without parameters wins. */
export function routerOf(endpoints: readonly AdminEndpoint[]): Router {
  const byPath = new Map<string, AdminEndpoint[]>();
  for (const endpoint of endpoints) {
    const group = byPath.get(endpoint.path);
    if (group === undefined) byPath.set(endpoint.path, [endpoint]);
    else group.push(endpoint);
  }
  const templates = Array.from(byPath)
    .filter(([path]) => path.includes('{'))
    .map(([path, group]) => ({ segments: path.split('/'), group }));
  return (method, path) => {
    const exact = path.includes('{') ? undefined : byPath.get(path);
    if (exact !== undefined) return withMethod(exact, method, {});
    for (const { segments, group } of templates) {
      const parameters = parametersOf(segments, path.split('/'));
      if (parameters !== undefined) return withMethod(group, method, parameters);
    }
    return { kind: 'no such path' };
  };
}

function withMethod(
  group: readonly AdminEndpoint[],
  method: string,
  parameters: Readonly<Record<string, string>>,
): Routed {
  const wanted = method === 'HEAD' ? 'GET' : method;
  const endpoint = group.find((one) => one.method === wanted);
  if (endpoint !== undefined) return { kind: 'endpoint', endpoint, parameters };
  return { kind: 'wrong method', allow: group.flatMap((one) => ALLOWED[one.method]) };
}

const ALLOWED: Readonly<Record<AdminMethod, readonly string[]>> = {
  GET: ['GET', 'HEAD'],
  POST: ['POST'],
  PUT: ['PUT'],
  DELETE: ['DELETE'],
};

/** Returns `undefined` when the path does not match, or a segment is not valid UTF-8. */
function parametersOf(
  segments: readonly string[],
  path: readonly string[],
): Readonly<Record<string, string>> | undefined {
  if (segments.length !== path.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [index, segment] of segments.entries()) {
    const found = path[index] ?? '';
    if (!segment.startsWith('{')) {
      if (segment !== found) return undefined;
      continue;
    }
    const decoded = textOf(found);
    if (decoded === undefined || decoded === '') return undefined;
    parameters[segment.slice(1, -1)] = decoded;
  }
  return parameters;
}

function textOf(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}
