import { lookup } from 'node:dns/promises';
import { hostname } from 'node:os';
import { systemCode } from '../errors.ts';
import { DnsClient } from './dns-client.ts';
import { FollowedFile } from './followed-file.ts';
import { parseHosts } from './hosts-file.ts';
import { parseNsswitch } from './nsswitch.ts';
import type { NameService } from './nsswitch.ts';
import { ResolutionError } from './resolution.ts';
import type { NameSystem, Resolution } from './resolution.ts';
import { parseResolvConf } from './resolv-conf.ts';
import { settlesWithin } from '../watch/scope.ts';

/** The system's files for name resolution. */
export interface SystemNamesOptions {
  /** `/etc/hosts` when absent. */
  readonly hostsFile?: string;
  /** `/etc/resolv.conf` when absent. */
  readonly resolvConf?: string;
  /** `/etc/nsswitch.conf` when absent. */
  readonly nsswitch?: string;
  /** The name of this machine; that of the system when absent. */
  readonly hostName?: string;
  /**
   * The platform; that of this process when absent. On other platforms than Linux, names are resolved with
   * `getaddrinfo`, which queries a system daemon.
   */
  readonly platform?: NodeJS.Platform;
}

// The hosts file has no TTL. Envoy refreshes every 5 s; Consul's default is 10 s.
const DEFAULT_TTL_SECONDS = 10;
// RFC 6761, section 6.3.
const LOOPBACK: Resolution = { hosts: ['127.0.0.1', '::1'], ttlSeconds: DEFAULT_TTL_SECONDS };
// Longer than any client waits.
const DEADLINE_MS = 10_000;

/**
 * Resolves names as the system does: in the order of nsswitch.conf, with the hosts file and the name servers of
 * resolv.conf, all three followed for changes; A and AAAA as in RFC 8305; `localhost` and its subdomains always as this
 * machine (RFC 6761). `getaddrinfo`, which has no TTL and cannot be cancelled, is only used if the order includes a
 * service that only the C library knows.
 */
export function systemNames(options: SystemNamesOptions = {}): NameSystem {
  const system = new SystemNames(options);
  return { resolve: (host) => system.resolve(host), hasChanged: () => system.hasChanged() };
}

class SystemNames {
  readonly #hosts: FollowedFile<ReturnType<typeof parseHosts>>;
  readonly #services: FollowedFile<readonly NameService[]>;
  readonly #dns: FollowedFile<DnsClient>;
  readonly #isLinux: boolean;
  /** Sum of the file versions at the last call of {@link hasChanged}. */
  #reported: number | undefined;

  constructor(options: SystemNamesOptions) {
    this.#hosts = new FollowedFile(options.hostsFile ?? '/etc/hosts', parseHosts);
    this.#services = new FollowedFile(options.nsswitch ?? '/etc/nsswitch.conf', parseNsswitch);
    this.#dns = new FollowedFile(
      options.resolvConf ?? '/etc/resolv.conf',
      (text) => new DnsClient(parseResolvConf(text, options.hostName ?? hostname())),
    );
    this.#isLinux = (options.platform ?? process.platform) === 'linux';
  }

  async hasChanged(): Promise<boolean> {
    await this.#refresh();
    const version = this.#hosts.version + this.#services.version + this.#dns.version;
    const hasChanged = this.#reported !== undefined && version !== this.#reported;
    this.#reported = version;
    return hasChanged;
  }

  async resolve(host: string): Promise<Resolution> {
    const resolving = this.#resolveInOrder(host);
    if (await settlesWithin(resolving, DEADLINE_MS)) return resolving;
    throw new ResolutionError('unavailable', `no response within ${DEADLINE_MS / 1_000} s`);
  }

  async #refresh(): Promise<void> {
    await Promise.all([this.#hosts.refresh(), this.#services.refresh(), this.#dns.refresh()]);
  }

  async #resolveInOrder(host: string): Promise<Resolution> {
    await this.#refresh();
    const name = host.toLowerCase().replace(/\.$/, '');
    if (isLocalhost(name)) return this.#fromFile(name) ?? LOOPBACK;
    if (!this.#isLinux) return resolveBySystem(name);
    let failure: ResolutionError | undefined;
    let hasOthers = false;
    for (const { name: service, isFinal } of this.#services.value) {
      const found = await this.#query(service, name, host);
      if (found === undefined) hasOthers = true;
      else if (!(found instanceof ResolutionError)) return found;
      else if (failure?.kind !== 'unavailable') failure = found;
      if (isFinal && found instanceof ResolutionError && found.kind === 'absent') break;
    }
    // Last, since it queries every service again and blocks a thread.
    if (hasOthers && failure?.kind !== 'unavailable') return resolveBySystem(name);
    throw this.#explained(failure ?? new ResolutionError('absent', 'not found by any service in nsswitch.conf'));
  }

  /** Queries one service; `undefined` if only the C library knows it. */
  async #query(service: string, name: string, host: string): Promise<Resolution | ResolutionError | undefined> {
    if (service === 'files') return this.#fromFile(name) ?? new ResolutionError('absent', 'not in the hosts file');
    // RFC 6762, section 3: names below `.local` are resolved by multicast DNS only.
    const isMulticast = service.startsWith('mdns') && name.endsWith('.local');
    // systemd-resolved provides a stub name server, which resolv.conf lists.
    if (!isMulticast && service !== 'dns' && service !== 'resolve') return undefined;
    const dns = this.#dns.value;
    if (!isMulticast && !dns.hasServers) return undefined;
    try {
      return await (isMulticast ? resolveBySystem(name) : dns.resolve(host));
    } catch (reason) {
      if (reason instanceof ResolutionError) return reason;
      throw reason;
    }
  }

  /** A file that cannot be read may be the one that knows the name. */
  #explained(failure: ResolutionError): ResolutionError {
    const troubles = [this.#hosts, this.#services, this.#dns].flatMap(({ trouble }) => trouble ?? []);
    if (troubles.length === 0) return failure;
    return new ResolutionError(failure.kind, [failure.message, ...troubles].join('; '), { cause: failure.cause });
  }

  #fromFile(name: string): Resolution | undefined {
    const hosts = this.#hosts.value.get(name);
    return hosts === undefined ? undefined : { hosts, ttlSeconds: DEFAULT_TTL_SECONDS };
  }
}

function isLocalhost(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost');
}

async function resolveBySystem(name: string): Promise<Resolution> {
  try {
    const records = await lookup(name, { all: true });
    return { hosts: [...new Set(records.map(({ address }) => address))], ttlSeconds: DEFAULT_TTL_SECONDS };
  } catch (cause) {
    const code = systemCode(cause) ?? String(cause);
    throw new ResolutionError(code === 'ENOTFOUND' ? 'absent' : 'unavailable', `getaddrinfo ${code}`, { cause });
  }
}
