import { isIP } from 'node:net';

/** Settings for queries to name servers (resolv.conf(5)). */
export interface ResolvConf {
  /**
   * In order of preference, with a port if it is not 53: `[127.0.0.1]:5353`. Excludes servers that only the C library
   * can query: link-local ones with a zone (`fe80::1%eth0`). Empty if there are no others.
   */
  readonly servers: readonly string[];
  /** Whether the file names no server: the one of this machine is queried. */
  readonly isDefault: boolean;
  /** Domains appended to names, in order; that of the machine's own name if the file has none, as in the C library. */
  readonly search: readonly string[];
  /** Names with fewer dots are tried with the search domains first. */
  readonly ndots: number;
  /** Timeout of each attempt, in milliseconds. */
  readonly timeoutMs: number;
  /** Attempts per server. */
  readonly attempts: number;
}

// resolv.conf(5): the default is the name server on this machine; the C library uses at most three.
const LOCAL_SERVER = '127.0.0.1';
const MAX_SERVERS = 3;
const MAX_NDOTS = 15;
// The C library waits for 5 s, which is the whole default connect timeout.
const MAX_TIMEOUT_MS = 2_000;
// The C library treats a timeout of 0 as this.
const MIN_TIMEOUT_MS = 1_000;
const MAX_ATTEMPTS = 5;

/**
 * Parses a resolv.conf. Skips unknown lines, as the system does; the last `search` or `domain` line counts. Pure.
 *
 * @param hostName name of this machine; without a dot, it has no domain
 */
export function parseResolvConf(text: string, hostName: string): ResolvConf {
  const listed: string[] = [];
  let search: readonly string[] = [domain(hostName.replace(/^[^.]*/, ''))];
  const options = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [key, ...values] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (key === 'nameserver') listed.push(...values.slice(0, 1).filter(isServer));
    else if (key === 'search') search = values.map(domain);
    else if (key === 'domain') search = values.slice(0, 1).map(domain);
    else if (key === 'options') for (const value of values) addOption(options, value);
  }
  const servers = listed.length === 0 ? [LOCAL_SERVER] : listed.slice(0, MAX_SERVERS);
  return {
    isDefault: listed.length === 0,
    servers: servers.filter((server) => !server.includes('%')),
    search: search.filter((name) => name !== ''),
    ndots: Math.min(options.get('ndots') ?? 1, MAX_NDOTS),
    timeoutMs: Math.min(Math.max((options.get('timeout') ?? 2) * 1_000, MIN_TIMEOUT_MS), MAX_TIMEOUT_MS),
    attempts: Math.min(Math.max(options.get('attempts') ?? 2, 1), MAX_ATTEMPTS),
  };
}

/** Whether a value is an address, or one in brackets with a port: an extension that other resolvers share. */
function isServer(text: string): boolean {
  const bracketed = /^\[([^\]]+)\]:(\d{1,5})$/.exec(text);
  return isIP(bracketed?.[1] ?? text) !== 0;
}

function domain(text: string): string {
  return text.toLowerCase().replace(/^\.|\.$/g, '');
}

function addOption(options: Map<string, number>, text: string): void {
  const [, name, value] = /^([a-z]+):(\d+)$/.exec(text) ?? [];
  if (name !== undefined) options.set(name, Number(value));
}
