import { isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { parseEndpoint } from '@meshgate/core';
import type { Endpoint, Problem } from '@meshgate/core';
import { isAnyAddress } from '@meshgate/core/parts';
import { durationMs } from './records.ts';

/** How the gateway registers itself: the options of `consul connect envoy -gateway=mesh -register`. */
export interface RegisterOptions {
  /** Service name; `mesh-gateway` when absent. */
  readonly service?: string;
  /** Service id; the service's name when absent. */
  readonly id?: string;
  /**
   * `IP:PORT` at which this datacenter reaches the gateway. An IPv4 address without a port has port 443; `:PORT` has
   * the agent's own address; both defaults apply when absent.
   */
  readonly address?: string;
  /** `HOST:PORT` at which other datacenters reach the gateway. */
  readonly wanAddress?: string;
  /** `IP:PORT` to listen on, by listener name, in place of the addresses above. */
  readonly bindAddresses?: Readonly<Record<string, string>>;
  /** The gateway also carries the traffic of Consul's own servers (WAN federation through gateways). */
  readonly exposeServers?: boolean;
  /**
   * URL that the agent checks for readiness, `http://127.0.0.1:19000/ready`: any status other than 2xx is critical.
   * When absent the agent checks whether the port is open, as for Consul's own command.
   */
  readonly readyUrl?: string;
  /** Duration for which a check may fail before the agent deregisters the gateway, such as `6h`, the default. */
  readonly deregisterAfterCritical?: string;
}

/** The body of `PUT /v1/agent/service/register`. */
export type RegistrationBody = Readonly<Record<string, unknown>> & { readonly ID: string; readonly Name: string };

/** A request body, or every problem of the options; paths are relative to the options. */
export type Registration =
  | { readonly kind: 'registration'; readonly body: RegistrationBody }
  | { readonly kind: 'invalid'; readonly problems: readonly Problem[] };

/**
 * Builds the registration of a mesh gateway, identical to the one of Consul's own command, so that the two can replace
 * each other.
 *
 * @param isLocal whether an IP address is assigned to an interface of this host
 */
export function registrationOf(
  options: RegisterOptions,
  isLocal: (ip: string) => boolean = isLocalAddress,
): Registration {
  const addresses = addressesOf(options);
  const after = options.deregisterAfterCritical ?? DEREGISTER_AFTER;
  const problems = [
    ...addresses.problems,
    ...bindProblems(addresses, isLocal),
    ...wanProblems(addresses),
    ...durationProblems(after),
    ...urlProblems(options.readyUrl),
  ];
  if (problems.length > 0) return { kind: 'invalid', problems };
  const { lan, wan } = addresses;
  const name = options.service ?? 'mesh-gateway';
  const [host, port] = [lan?.host ?? '', lan?.port ?? DEFAULT_PORT];
  const tagged = {
    ...(host === '' || !lan ? {} : { lan: addressBody(lan) }),
    ...(wan ? { wan: addressBody(wan) } : {}),
  };
  const config = bindConfig(addresses, isLocal);
  const body = {
    Kind: 'mesh-gateway',
    Name: name,
    ID: options.id ?? name,
    Port: port,
    ...(host === '' ? {} : { Address: host }),
    ...(Object.keys(tagged).length === 0 ? {} : { TaggedAddresses: tagged }),
    ...(options.exposeServers === true ? { Meta: { 'consul-wan-federation': '1' } } : {}),
    ...(config === undefined ? {} : { Proxy: { Config: config } }),
    Check: {
      Name: 'mesh-gateway listening',
      ...(options.readyUrl === undefined
        ? { TCP: `${bracketed(host || '127.0.0.1')}:${port}` }
        : { HTTP: options.readyUrl, Timeout: '5s' }),
      Interval: '10s',
      DeregisterCriticalServiceAfter: after,
    },
  };
  return { kind: 'registration', body };
}

/** Whether an interface of this host has this address. */
function isLocalAddress(ip: string): boolean {
  const interfaces = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return interfaces.some(({ address }) => address === ip);
}

const DEFAULT_PORT = 443;
const DEREGISTER_AFTER = '6h';

interface Addresses {
  readonly lan: Endpoint | undefined;
  readonly wan: Endpoint | undefined;
  readonly bind: Readonly<Record<string, Endpoint>>;
  readonly problems: readonly Problem[];
}

function addressesOf({ address, wanAddress, bindAddresses = {} }: RegisterOptions): Addresses {
  const problems: Problem[] = [];
  const read = (value: string | undefined, ...path: readonly string[]): Endpoint | undefined => {
    const endpoint = value === undefined ? undefined : endpointOf(value);
    const isWrong = endpoint === undefined || endpoint.port === 0 || value?.includes('{{') === true;
    if (value === undefined || !isWrong) return endpoint;
    problems.push({ path, message: `expected an address such as 10.0.0.5:8443, found ${JSON.stringify(value)}` });
    return undefined;
  };
  const bind = Object.entries(bindAddresses).map(
    ([name, value]) => [name, read(value, 'bindAddresses', name)] as const,
  );
  return {
    lan: portAlone(address) ?? read(address, 'address'),
    wan: read(wanAddress, 'wanAddress'),
    bind: Object.fromEntries(bind.filter((entry): entry is [string, Endpoint] => entry[1] !== undefined)),
    problems,
  };
}

/** Parses an address like the flags of Consul's command: an IPv4 address alone has port 443. */
function endpointOf(text: string): Endpoint | undefined {
  return parseEndpoint(isIPv4(text) ? `${text}:${DEFAULT_PORT}` : text);
}

/** Parses `:8443`, which omits the host: the agent's own address. */
function portAlone(text = ''): Endpoint | undefined {
  const { port = 0 } = text.startsWith(':') ? (parseEndpoint(`localhost${text}`) ?? {}) : {};
  return port === 0 ? undefined : { host: '', port };
}

/**
 * Returns the addresses to bind: the named bind addresses; else lan and wan when both belong to this host; else the
 * registered address, which must belong to this host.
 */
function bindConfig({ lan, wan, bind }: Addresses, isLocal: (ip: string) => boolean): object | undefined {
  if (Object.keys(bind).length > 0) {
    const addresses = Object.entries(bind).map(([name, endpoint]) => [name, addressBody(endpoint)] as const);
    return {
      envoy_gateway_no_default_bind: true,
      envoy_gateway_bind_addresses: Object.fromEntries(addresses),
    };
  }
  if (lan === undefined || wan === undefined || !isLocal(lan.host) || !isLocal(wan.host)) return undefined;
  return { envoy_gateway_no_default_bind: true, envoy_gateway_bind_tagged_addresses: true };
}

/**
 * Accepts any address of the IPv4 loopback network, unlike Consul's command: it can be bound without being assigned.
 */
function bindProblems({ lan, bind }: Addresses, isLocal: (ip: string) => boolean): readonly Problem[] {
  if (lan === undefined || lan.host === '' || Object.keys(bind).length > 0) return [];
  if (isLocal(lan.host) || lan.host.startsWith('127.')) return [];
  const message = `expected an address of this host, or explicit bind addresses, found ${lan.host}`;
  return [{ path: ['address'], message }];
}

/**
 * Rejects a wildcard address: connecting to it reaches the dialling host itself (ip(7)), so gateways of other
 * datacenters would dial themselves.
 */
function wanProblems({ wan }: Addresses): readonly Problem[] {
  if (wan === undefined || !isAnyAddress(wan.host)) return [];
  const message = `expected an address that other datacenters can dial, found ${wan.host}`;
  return [{ path: ['wanAddress'], message }];
}

function durationProblems(after: string): readonly Problem[] {
  if (durationMs(after) !== undefined) return [];
  return [
    { path: ['deregisterAfterCritical'], message: `expected a duration such as 6h, found ${JSON.stringify(after)}` },
  ];
}

function urlProblems(url: string | undefined): readonly Problem[] {
  if (url === undefined || (/^https?:\/\//.test(url) && URL.canParse(url))) return [];
  const message = `expected a URL such as http://127.0.0.1:19000/ready, found ${JSON.stringify(url)}`;
  return [{ path: ['readyUrl'], message }];
}

function addressBody({ host, port }: Endpoint): { readonly Address: string; readonly Port: number } {
  return { Address: host, Port: port };
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
