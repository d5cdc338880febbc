import type { Endpoint } from '@meshgate/core';
import type {
  ChainTarget,
  Credentials,
  Intention,
  ProxyUpstream,
  ProxyView,
  UpstreamPath,
  UpstreamTarget,
} from '@meshgate/mesh';
import { serviceIdentity, serviceServerName, targetId } from '@meshgate/mesh';
import type { CertificateAuthority, IssuedCertificate, LeafOptions } from '@meshgate/testkit';

export const TRUST_DOMAIN = '11111111-2222-3333-4444-555555555555.consul';
const ANY_PORT: Endpoint = { host: '127.0.0.1', port: 0 };

export function uriOf(service: string, datacenter = 'dc1', trustDomain = TRUST_DOMAIN): string {
  return serviceIdentity({ service, datacenter }, trustDomain);
}

/** A leaf for a service, issued by `authority`. */
export function leafOf(authority: CertificateAuthority, service: string, over: LeafOptions = {}): IssuedCertificate {
  return authority.issue({ uris: [uriOf(service)], ...over });
}

/** What Consul issues to a proxy: a leaf with its chain, and the roots. */
export function credentialsOf(
  { chain, privateKey }: IssuedCertificate,
  ...roots: readonly CertificateAuthority[]
): Credentials {
  return {
    certificate: chain,
    privateKey,
    roots: roots.map(({ certificate }) => certificate),
    trustDomain: TRUST_DOMAIN,
  };
}

/** Overrides for one upstream target. */
export interface TargetOptions {
  readonly service: string;
  readonly datacenter?: string;
  readonly path?: UpstreamPath;
  /** If empty, the target has no backend. */
  readonly at?: readonly (Endpoint & { readonly healthy?: boolean })[];
  /** Why the target has no backend. */
  readonly unreachableReason?: string;
  readonly connectTimeoutMs?: number;
  readonly identities?: readonly string[];
}

/** A target as the functions of `mesh` return it. */
export function targetOf(options: TargetOptions): UpstreamTarget {
  const { service, datacenter = 'dc1', path = 'direct', at = [], unreachableReason, connectTimeoutMs } = options;
  const target: ChainTarget = {
    id: targetId({ service, datacenter }),
    service,
    datacenter,
    serverName: serviceServerName({ service, datacenter, trustDomain: TRUST_DOMAIN }),
    identities: options.identities ?? [uriOf(service, datacenter)],
    instances: { filter: '', onlyPassing: false },
    external: false,
    decision: { kind: 'unset' },
    ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
  };
  const backends = at.map(({ host, port, healthy = true }) => ({ address: { host, port }, weight: 1, healthy }));
  const empty = unreachableReason === undefined ? {} : { unreachableReason };
  return {
    target,
    path,
    backends,
    ...empty,
    withoutBackend: path === 'direct' ? 'NO_BACKEND' : 'NO_GATEWAY',
    service: 'healthy',
    facts: { path, target: service, datacenter },
    problems: [],
  };
}

/** An upstream listener on any free port. */
export function upstreamOf(
  name: string,
  targets: readonly [UpstreamTarget, ...UpstreamTarget[]],
  bind = ANY_PORT,
): ProxyUpstream {
  const [first, ...rest] = targets;
  const chain = { service: name, targets: [first.target, ...rest.map(({ target }) => target)] as const };
  return { kind: 'reachable', definition: { name, kind: 'service', bind }, chain, targets };
}

/** Overrides for the view of a proxy. */
export interface ViewOptions {
  readonly service: string;
  readonly application?: Endpoint;
  readonly upstreams?: readonly ProxyUpstream[];
  readonly intentions?: readonly Intention[];
  readonly intentionDefault?: 'allow' | 'deny';
  readonly mutualTls?: 'strict' | 'permissive';
}

let versions = 0;

/** The view of a proxy that listens on any free port. */
export function viewOf({ service, application, ...over }: ViewOptions): ProxyView {
  versions += 1;
  return {
    version: String(versions),
    datacenter: 'dc1',
    trustDomain: TRUST_DOMAIN,
    proxy: {
      id: `${service}-sidecar-proxy`,
      name: `${service}-sidecar-proxy`,
      service,
      listen: ANY_PORT,
      application: application ?? ANY_PORT,
      upstreams: [],
      config: {},
    },
    upstreams: [],
    intentions: [],
    intentionDefault: 'allow',
    ...over,
  };
}
