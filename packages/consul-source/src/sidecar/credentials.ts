import { Cell, openScope, Watched } from '@meshgate/core/parts';
import type { Credentials, CredentialsSource, ProxyChoice, TlsSettings } from '@meshgate/mesh';
import { AgentError, openAgent } from '../agent.ts';
import type { Agent, AgentOptions } from '../agent.ts';
import { parsedResponses } from '../blocking-query.ts';
import { configEntries } from '../config-entries.ts';
import { list, object, text } from '../json.ts';
import type { JsonObject } from '../json.ts';
import { bundlesIn, peerTrust, PeerStatus } from '../peering/peer-trust.ts';
import type { TrustBundles } from '../peering/peer-trust.ts';
import { KnownPeers, peerResponses } from '../peering/peering-queries.ts';
import type { PeersResponse } from '../peering/peering-queries.ts';
import { meshRoots } from '../roots.ts';
import { proxyFinder } from './find-proxy.ts';
import type { FindProxy } from './find-proxy.ts';
import { registeredProxy } from './registered-proxy.ts';

/** Connection to an agent, and additional trust of a Connect proxy. */
export interface CredentialOptions extends AgentOptions {
  /**
   * Roots of peers, for a token without `peering:read`: a PEM file or a folder of PEM files for each peer, reloaded at
   * run time.
   */
  readonly trustBundles?: TrustBundles;
}

/**
 * Follows the leaf certificate of a proxy's service, and the roots of the mesh and of its peers. The agent renews the
 * leaf certificate long before it expires, and reports new roots before leaf certificates of them are in use. Keys stay
 * in memory.
 *
 * @param status receives the state of peers
 */
export function consulCredentials(
  options: CredentialOptions,
  choice: ProxyChoice,
  status: PeerStatus = new PeerStatus(),
): CredentialsSource {
  // The proxy's own source reports a missing registration.
  const find = proxyFinder(choice, { reportsMissing: false });
  return { name: 'consul-ca', watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<Credentials, void, void> {
    const agent = openAgent(options, SOCKETS);
    const scope = openScope(signal);
    try {
      const service = await serviceBehind(agent, find, scope.signal);
      yield* credentialsOf({ agent, service, status, bundles: options.trustBundles ?? {} }, scope.signal);
    } finally {
      scope.end();
      await agent.close();
    }
  }
}

// One query each is always open for the leaf certificate, the roots, the peers and the TLS settings of the mesh.
const SOCKETS = 4;

type Leaf = Pick<Credentials, 'certificate' | 'privateKey'>;

interface FollowedCredentials {
  readonly agent: Agent;
  readonly service: string;
  readonly status: PeerStatus;
  readonly bundles: TrustBundles;
}

/**
 * Yields each combination of leaf certificate and roots, once both are known. Throws when either fails, so that the
 * source reports the failure.
 */
async function* credentialsOf(
  { agent, service, status, bundles: files }: FollowedCredentials,
  signal: AbortSignal,
): AsyncGenerator<Credentials, void, void> {
  const changes = new Cell<void>();
  const options = { changed: (): void => changes.set(), signal };
  const leaf = new Watched((inner) => leaves(agent, service, inner), options);
  const roots = new Watched((inner) => meshRoots(agent, { mayBeNone: false }, inner), options);
  // Trust in other clusters is optional: without peerings, or when the token may not read them, only this cluster is
  // trusted.
  const seenPeers = new KnownPeers();
  const peers = new Watched((inner) => reported(peerResponses(agent, seenPeers, inner), status), options);
  const hasBundles = Object.keys(files).length > 0;
  const bundles = hasBundles ? new Watched((inner) => bundlesIn(files, inner), options) : undefined;
  const tls = new Watched((inner) => configEntries(agent, TLS_SETTINGS, inner), options);
  let last: string | undefined;
  for (let seen = 0; !signal.aborted; await changes.changed(seen, signal)) {
    seen = changes.revision;
    const failure = leaf.reading.error ?? roots.reading.error;
    if (failure !== undefined) throw failure;
    const [known, knownRoots, bundled] = [leaf.reading.value, roots.reading.value, bundles?.reading.value ?? []];
    status.bundleProblem(bundles?.reading.error);
    if (seen === 0 || known === undefined || knownRoots === undefined) continue;
    const trusted = peerTrust(peers.reading.value?.peers ?? [], bundled);
    const trust = trusted.length === 0 ? {} : { peers: trusted };
    const credentials = { ...known, ...knownRoots, ...trust, ...tls.reading.value };
    // The agent reports peerings repeatedly, mostly unchanged.
    const present = JSON.stringify(credentials);
    if (present !== last) yield credentials;
    last = present;
  }
}

async function* reported(responses: AsyncGenerator<PeersResponse>, status: PeerStatus): AsyncGenerator<PeersResponse> {
  for await (const response of responses) {
    status.update(response);
    yield response;
  }
}

/** The TLS settings in the `mesh` entry. */
const TLS_SETTINGS = { kind: 'mesh', read: tlsOf };

function tlsOf([entry]: readonly JsonObject[]): Pick<Credentials, 'tls'> {
  const tls = object(entry?.['TLS']);
  if (tls === undefined) return {};
  return { tls: { incoming: directionOf(tls['Incoming']), outgoing: directionOf(tls['Outgoing']) } };
}

function directionOf(json: unknown): TlsSettings {
  const settings = object(json);
  return {
    minVersion: text(settings?.['TLSMinVersion']),
    maxVersion: text(settings?.['TLSMaxVersion']),
    cipherSuites: list(settings?.['CipherSuites']).map(text),
  };
}

/** Waits for the registration of the proxy, and returns its service. */
async function serviceBehind(agent: Agent, find: FindProxy, signal: AbortSignal): Promise<string> {
  const id = await find(agent, signal);
  for await (const registered of registeredProxy(agent, id, signal))
    if (registered !== null) return registered.definition.service;
  throw new AgentError(`expected a registration of ${id}, found none`);
}

function leaves(agent: Agent, service: string, signal: AbortSignal): AsyncGenerator<Leaf> {
  const path = `agent/connect/ca/leaf/${encodeURIComponent(service)}`;
  return parsedResponses(agent, { path, expected: 'a leaf', read: (json) => leafIn(json, path) }, signal);
}

/** @throws AgentError for another format, with a message without the response, since it contains a key */
function leafIn(json: unknown, path: string): Leaf {
  const certificate = text(object(json)?.['CertPEM']);
  const privateKey = text(object(json)?.['PrivateKeyPEM']);
  if (certificate !== '' && privateKey !== '') return { certificate, privateKey };
  throw new AgentError(`Consul agent: /v1/${path}: expected a certificate and its key`);
}
