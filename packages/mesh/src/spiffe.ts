/** An identity in a certificate of the mesh, from the URI in its subject alternative name. */
export type SpiffeId =
  /** A service, as a Connect proxy presents it. */
  | {
      readonly kind: 'service';
      readonly trustDomain: string;
      readonly partition: string;
      readonly namespace: string;
      readonly datacenter: string;
      readonly service: string;
    }
  /** A client agent. */
  | {
      readonly kind: 'agent';
      readonly trustDomain: string;
      readonly partition: string;
      readonly datacenter: string;
      readonly node: string;
    }
  /** A server agent. */
  | { readonly kind: 'server'; readonly trustDomain: string; readonly datacenter: string }
  /** A mesh gateway that terminates TLS for exported HTTP services. */
  | {
      readonly kind: 'mesh-gateway';
      readonly trustDomain: string;
      readonly partition: string;
      readonly datacenter: string;
    }
  /** The certificate authority itself. */
  | { readonly kind: 'authority'; readonly trustDomain: string };

/** A {@link SpiffeId}, or why the string is not one. */
export type ParsedSpiffeId = SpiffeId | { readonly kind: 'invalid'; readonly reason: string };

/**
 * Parses the URI of a certificate. Splits the path before it unescapes the segments, so that an escaped slash stays
 * inside its segment. Never throws.
 */
export function parseSpiffeId(text: string): ParsedSpiffeId {
  const match = /^spiffe:\/\/([^/?#@:\s]+)((?:\/[^/?#\s]+)*)$/i.exec(text);
  const [, host, path] = match ?? [];
  if (host === undefined || path === undefined) return invalid(text, 'expected spiffe://TRUST-DOMAIN/PATH');
  const segments = unescaped(path.split('/').slice(1));
  if (segments === undefined) return invalid(text, 'expected a path with whole escape sequences');
  return identity(host.toLowerCase(), segments) ?? invalid(text, 'expected the path of a Consul identity');
}

/**
 * Formats an identity as a URI, the inverse of {@link parseSpiffeId}. Omits the default partition, and escapes like
 * Go's `url.URL`, which formats the URIs in Consul's certificates: `@ : + $ = ; & , ~` stay unescaped.
 */
export function formatSpiffeId(id: SpiffeId): string {
  return ['spiffe:/', id.trustDomain, ...segmentsOf(id).map(escaped)].join('/');
}

/** Whether two URIs denote the same identity, regardless of escaping. An invalid URI equals no other. */
export function isSameSpiffeId(one: string, other: string): boolean {
  const parsed = parseSpiffeId(one);
  const otherParsed = parseSpiffeId(other);
  if (parsed.kind === 'invalid' || otherParsed.kind === 'invalid') return false;
  return formatSpiffeId(parsed) === formatSpiffeId(otherParsed);
}

const DEFAULT = 'default';

function invalid(text: string, expected: string): ParsedSpiffeId {
  return { kind: 'invalid', reason: `${expected}, found ${JSON.stringify(text)}` };
}

/** Escapes slashes too, unlike Consul, which issues no certificate for such a name. */
function escaped(segment: string): string {
  return Array.from(new TextEncoder().encode(segment), (byte) => {
    const character = String.fromCharCode(byte);
    return UNESCAPED.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }).join('');
}

const UNESCAPED = /[A-Za-z0-9\-_.~$&+,:;=@]/;

function unescaped(segments: readonly string[]): readonly string[] | undefined {
  try {
    return segments.map(decodeURIComponent);
  } catch {
    return undefined;
  }
}

/** Paths by kind of identity; a name in capitals stands for the field of that name. */
const PATHS: Readonly<Record<SpiffeId['kind'], readonly string[]>> = {
  service: ['ns', 'NAMESPACE', 'dc', 'DATACENTER', 'svc', 'SERVICE'],
  agent: ['agent', 'client', 'dc', 'DATACENTER', 'id', 'NODE'],
  server: ['agent', 'server', 'dc', 'DATACENTER'],
  'mesh-gateway': ['gateway', 'mesh', 'dc', 'DATACENTER'],
  authority: [],
};
const UNPARTITIONED: ReadonlySet<string> = new Set<SpiffeId['kind']>(['server', 'authority']);

function identity(trustDomain: string, path: readonly string[]): SpiffeId | undefined {
  const [partition, rest] = path[0] === 'ap' && path[1] !== undefined ? [path[1], path.slice(2)] : [DEFAULT, path];
  const found = Object.entries(PATHS).find(
    ([, parts]) => parts.length === rest.length && parts.every((part, at) => isField(part) || part === rest[at]),
  );
  if (found === undefined || (UNPARTITIONED.has(found[0]) && rest !== path)) return undefined;
  const [kind, parts] = found;
  const fields = parts.flatMap((part, at) => (isField(part) ? [[part.toLowerCase(), rest[at]] as const] : []));
  const id = { kind, trustDomain, ...(UNPARTITIONED.has(kind) ? {} : { partition }), ...Object.fromEntries(fields) };
  return id as SpiffeId;
}

function isField(part: string): boolean {
  return part === part.toUpperCase();
}

function segmentsOf(id: SpiffeId): readonly string[] {
  const fields = new Map(Object.entries(id));
  const partition = fields.get('partition') ?? DEFAULT;
  const path = PATHS[id.kind].map((part) => (isField(part) ? (fields.get(part.toLowerCase()) ?? '') : part));
  return partition === DEFAULT ? path : ['ap', partition, ...path];
}
