/**
 * One end of a byte stream.
 *
 * `host` is an IPv4 or IPv6 address without brackets, a DNS name where the context allows one (a backend), or the path
 * of a unix socket written `unix:/run/app.sock`, in which case `port` is 0.
 */
export interface Endpoint {
  /** An address, a DNS name, or `unix:` and a path; see above. */
  readonly host: string;
  /** 0 to 65535. 0 means any free port for a listener, and is the port of every unix socket. */
  readonly port: number;
}

const UNIX_PREFIX = 'unix:';

const HIGHEST_PORT = 65_535;

/** Returns the path of a unix socket, or `undefined` for a TCP endpoint. */
export function unixPath(endpoint: Endpoint): string | undefined {
  return endpoint.host.startsWith(UNIX_PREFIX) ? endpoint.host.slice(UNIX_PREFIX.length) : undefined;
}

/**
 * Formats an endpoint: `host:port`, with brackets around an IPv6 address (RFC 3986, section 3.2.2); a unix socket as
 * `unix:` and its path.
 */
export function formatEndpoint({ host, port }: Endpoint): string {
  if (host.startsWith(UNIX_PREFIX)) return host;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether two endpoints are equal, in this notation. */
export function isSameEndpoint(one: Endpoint, other: Endpoint): boolean {
  return one.port === other.port && one.host === other.host;
}

/**
 * Returns the problem with the port of `endpoint`, as one clause, or `undefined`: the kernel would silently truncate an
 * invalid one to 16 bits.
 */
export function portProblem({ port }: Endpoint): string | undefined {
  const isPort = Number.isInteger(port) && port >= 0 && port <= HIGHEST_PORT;
  return isPort ? undefined : `expected a port from 0 to ${HIGHEST_PORT}, found ${port}`;
}

/**
 * Parses `host:port`, `[v6]:port` or `unix:/path`. The inverse of {@link formatEndpoint}.
 *
 * @returns `undefined` if the text has another form, or the port is not within 0 to 65535. The host is not resolved.
 */
export function parseEndpoint(text: string): Endpoint | undefined {
  if (text.startsWith(UNIX_PREFIX)) return text.length > UNIX_PREFIX.length ? { host: text, port: 0 } : undefined;
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port > HIGHEST_PORT ? undefined : { host, port };
}

/** Whether an endpoint to listen on is every address of the machine: each connection then has its own local address. */
export function isWildcard({ host }: Endpoint): boolean {
  return host === '::' || host === '0.0.0.0';
}
