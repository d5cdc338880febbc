import type { Credentials, CredentialsSource } from '@meshgate/mesh';
import { AgentError, openAgent, parsed } from '../agent.ts';
import type { Agent, AgentOptions } from '../agent.ts';
import { blockingQuery } from '../blocking-query.ts';
import { object, objects, text } from '../json.ts';
import { scopeWithin } from '../scope.ts';
import { Wakeup } from '../wakeup.ts';
import { proxyFinder } from './find-proxy.ts';
import type { FindProxy, ProxyChoice } from './find-proxy.ts';
import { registeredProxy } from './registered-proxy.ts';

/**
 * The leaf of the service for which a proxy speaks, and the roots of the mesh, followed: the agent renews the leaf long before it
 * expires, and tells of new roots before anybody shows a leaf of them. Keys stay in memory.
 */
export function consulCredentials(options: AgentOptions, choice: ProxyChoice): CredentialsSource {
  // What the proxy's own source waits for is told by that.
  const find = proxyFinder(choice, { tells: false });
  return { name: 'consul-ca', watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<Credentials, void, void> {
    const agent = openAgent(options, SOCKETS);
    const scope = scopeWithin(signal);
    const parts: Parts = { leaf: undefined, roots: undefined };
    const wakeup = new Wakeup();
    const watching = watchParts(agent, find, parts, wakeup, scope.signal);
    try {
      for (;;) {
        await wakeup.sleep(LONG_MS, signal);
        if (signal.aborted) return;
        if (parts.leaf !== undefined && parts.roots !== undefined) yield { ...parts.leaf, ...parts.roots };
      }
    } finally {
      scope.end();
      await agent.close();
      await watching;
    }
  }
}

// One question for the leaf and one for the roots are always open.
const SOCKETS = 2;
// Nothing happens by itself: any time will do.
const LONG_MS = 60_000;

interface Parts {
  leaf: Pick<Credentials, 'certificate' | 'privateKey'> | undefined;
  roots: Pick<Credentials, 'roots' | 'trustDomain'> | undefined;
}

/** Until the scope ends. Never rejects: `wakeup` is told what fails. */
async function watchParts(
  agent: Agent,
  find: FindProxy,
  parts: Parts,
  wakeup: Wakeup,
  signal: AbortSignal,
): Promise<void> {
  try {
    const service = await serviceBehind(agent, find, signal);
    await Promise.all([watchLeaf(agent, service, parts, wakeup, signal), watchRoots(agent, parts, wakeup, signal)]);
  } catch (reason) {
    wakeup.fail(reason);
  }
}

/** Waits until the proxy is registered. */
async function serviceBehind(agent: Agent, find: FindProxy, signal: AbortSignal): Promise<string> {
  const id = await find(agent, signal);
  for await (const registered of registeredProxy(agent, id, signal))
    if (registered !== null) return registered.definition.service;
  throw new AgentError(`expected a registration of ${id}, found none`);
}

async function watchLeaf(
  agent: Agent,
  service: string,
  parts: Parts,
  wakeup: Wakeup,
  signal: AbortSignal,
): Promise<void> {
  const path = `agent/connect/ca/leaf/${encodeURIComponent(service)}`;
  for await (const answer of blockingQuery(agent, { path }, signal)) {
    parts.leaf = leafIn(answer, path);
    wakeup.signal();
  }
}

/** Says nothing of what it found: that holds a key. */
function leafIn({ text: body }: { readonly text: string }, path: string): Parts['leaf'] {
  const leaf = parsed({ text: body }, path, 'a leaf', (json) => leafOf(json) ?? null);
  if (leaf === null)
    throw new AgentError(`Consul agent: /v1/${path}: expected a certificate and its key, found neither`);
  return leaf;
}

function leafOf(json: unknown): Parts['leaf'] {
  const certificate = text(object(json)?.['CertPEM']);
  const privateKey = text(object(json)?.['PrivateKeyPEM']);
  return certificate === '' || privateKey === '' ? undefined : { certificate, privateKey };
}

async function watchRoots(agent: Agent, parts: Parts, wakeup: Wakeup, signal: AbortSignal): Promise<void> {
  const path = 'agent/connect/ca/roots';
  for await (const answer of blockingQuery(agent, { path }, signal)) {
    parts.roots = parsed(answer, path, 'roots with a trust domain', rootsOf);
    wakeup.signal();
  }
}

function rootsOf(json: unknown): Parts['roots'] {
  const trustDomain = text(object(json)?.['TrustDomain']);
  const roots = objects(object(json)?.['Roots']).map((root) => text(root['RootCert']));
  return trustDomain === '' || roots.length === 0 ? undefined : { roots, trustDomain };
}
