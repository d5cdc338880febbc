/**
 * One end of a byte stream.
 *
 * `host` is an IPv4 or IPv6 address without brackets, a DNS name where the context allows one (a backend), or the path of
 * a unix socket written `unix:/run/app.sock`, in which case `port` is 0.
 */
export interface Endpoint {
  /** An address, a DNS name or `unix:` and a path; see above. */
  readonly host: string;
  /** 0 to 65535. 0 means "any free port" when listening, and "not applicable" for a unix socket. */
  readonly port: number;
}

const UNIX_PREFIX = 'unix:';

const HIGHEST_PORT = 65_535;

/** The path of the unix socket that `endpoint` names, or `undefined` when it is a TCP endpoint. */
export function unixPath(endpoint: Endpoint): string | undefined {
  return endpoint.host.startsWith(UNIX_PREFIX) ? endpoint.host.slice(UNIX_PREFIX.length) : undefined;
}

/** `host:port`, with brackets round an IPv6 address (RFC 3986, section 3.2.2); a unix socket as it is written. */
export function formatEndpoint({ host, port }: Endpoint): string {
  if (host.startsWith(UNIX_PREFIX)) return host;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether two endpoints are written alike. */
export function isSameEndpoint(one: Endpoint, other: Endpoint): boolean {
  return one.port === other.port && one.host === other.host;
}

/** What is wrong with the port of `endpoint`, as one clause; `undefined` when it is one: the kernel would silently cut others to 16 bits. */
export function portProblem({ port }: Endpoint): string | undefined {
  const isPort = Number.isInteger(port) && port >= 0 && port <= HIGHEST_PORT;
  return isPort ? undefined : `expected a port from 0 to ${HIGHEST_PORT}, found ${port}`;
}

/**
 * Reads `host:port`, `[v6]:port` or `unix:/path`. The inverse of {@link formatEndpoint}.
 *
 * @returns `undefined` when the text is none of these or the port is outside 0 to 65535. The host is not looked up.
 */
export function parseEndpoint(text: string): Endpoint | undefined {
  if (text.startsWith(UNIX_PREFIX)) return text.length > UNIX_PREFIX.length ? { host: text, port: 0 } : undefined;
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port > HIGHEST_PORT ? undefined : { host, port };
}
