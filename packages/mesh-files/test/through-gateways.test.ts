import { X509Certificate } from 'node:crypto';
import { DEFAULT_LIMITS, type ListenAddress, nodeTransport } from '@meshgate/core';
import {
  AddressBook,
  Admission,
  balancedConnector,
  Sessions,
  Listeners,
  observers,
  Outliers,
  RouteStore,
} from '@meshgate/core/parts';
import type { UpstreamPath, UpstreamTarget } from '@meshgate/mesh';
import { sniSniffer } from '@meshgate/sni';
import { certificateAuthority, recorder, tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it, onTestFinished } from 'vitest';
import { meshProxyView, meshSource, readMesh } from '../src/index.ts';
import { meshFolder, PRIMARY, TRUST_DOMAIN, writeMesh } from './mesh-folder.ts';

const AUTHORITY = certificateAuthority('the mesh');
const IDENTITY = `spiffe://${TRUST_DOMAIN}/ns/default/dc/secondary/svc/api`;

describe('two gateways, nothing but mesh files, and a service behind the second', () => {
  it.each<[string, UpstreamPath, readonly string[]]>([
    ['local', 'local-gateway', ['primary lan', 'secondary wan']],
    ['remote', 'remote-gateway', ['secondary wan']],
    ['none', 'direct', []],
  ])('in the mode %s the service responds by the path of the mode', async (mode, path, passed) => {
    const { folder, gateways } = await twoDatacenters(mode);
    const target = await targetOf(folder);
    expect(target.path).toBe(path);
    expect(await responseOf(target)).toBe('hello');
    const closed = gateways.flatMap(({ datacenter, events }) =>
      passed
        .filter((one) => one.startsWith(datacenter))
        .map(async (one) => ({ one, event: await events.until('connection.closed') })),
    );
    for (const { one, event } of await Promise.all(closed)) {
      expect(one.endsWith(event.closed.connection.listener)).toBe(true);
      expect(event.closed.hello?.serverName).toBe(target.target.serverName);
    }
    for (const { datacenter, events } of gateways)
      if (!passed.some((one) => one.startsWith(datacenter))) expect(events.all('connection.accepted')).toEqual([]);
  });
});

/** Target of the only upstream of `web`. */
async function targetOf(folder: string): Promise<UpstreamTarget> {
  const [upstream] = meshProxyView(await readMesh(folder, PRIMARY), 'web-sidecar-proxy')?.upstreams ?? [];
  const target = upstream?.kind === 'reachable' ? upstream.targets[0] : undefined;
  if (target === undefined) throw new Error('expected an upstream with a target, found none');
  return target;
}

/** Dials as a sidecar does: the target's address and server name; the peer must have the target's identity. */
async function responseOf({ backends, target }: UpstreamTarget): Promise<string> {
  const [backend] = backends;
  if (backend === undefined) throw new Error('expected somebody to dial, found nobody');
  await using client = await tlsClient(backend.address, target.serverName);
  const presented = new X509Certificate(client.serverCertificate.raw);
  expect(presented.verify(new X509Certificate(AUTHORITY.certificate).publicKey)).toBe(true);
  expect(target.identities.map((uri) => `URI:${uri}`)).toEqual([presented.subjectAltName]);
  await client.send('hello');
  return String(await client.receive('hello'.length));
}

/** The route that a gateway needs for this. */
const AWAITED: Readonly<Record<string, string>> = { primary: 'datacenter:secondary', secondary: 'service:api' };

async function twoDatacenters(mode: string) {
  const api = await tlsBackend('api', { authority: AUTHORITY, identity: AUTHORITY.issue({ uris: [IDENTITY] }) });
  onTestFinished(() => api[Symbol.asyncDispose]());
  const folder = await meshFolder({ 'primary/empty.hcl': '', 'secondary/empty.hcl': '' });
  const gateways = [await startGateway(folder, 'primary'), await startGateway(folder, 'secondary')];
  const known = gateways.map(({ datacenter, events }) =>
    events.until('routes.replaced', ({ snapshot }) => snapshot.routes.some(({ name }) => name === AWAITED[datacenter])),
  );
  await writeMesh(folder, {
    ...Object.fromEntries(gateways.map(({ datacenter, definition }) => [`${datacenter}/gateway.hcl`, definition])),
    'secondary/api.hcl': `service {
      kind = "connect-proxy", name = "api-sidecar-proxy", port = ${api.address.port}
      proxy { destination_service_name = "api" }
    }`,
    'primary/web.hcl': `service {
      name = "web", port = 1
      connect { sidecar_service { proxy {
        mesh_gateway { mode = "${mode}" }
        upstreams = [ { destination_name = "api", datacenter = "secondary", local_bind_port = 10000 } ]
      } } }
    }`,
  });
  await Promise.all(known);
  return { folder, gateways };
}

/**
 * A complete gateway, whose only source is the folder. It has one listener for its own datacenter and one for the
 * others.
 */
async function startGateway(folder: string, datacenter: string) {
  const limits = DEFAULT_LIMITS;
  const transport = nodeTransport();
  const events = recorder();
  const observer = observers([events]);
  const keepAlive = { idleMs: 60_000 };
  const source = meshSource({ folder, datacenter, trustDomain: TRUST_DOMAIN, name: 'mesh', pollMs: 0 });
  const store = new RouteStore({ observer, sources: [source] });
  const outliers = new Outliers(observer);
  const connector = balancedConnector({
    addresses: new AddressBook(observer),
    outliers,
    observer,
    limits,
    keepAlive,
  });
  const sessions = new Sessions({
    sniffer: sniSniffer(),
    resolver: store,
    connector,
    transport,
    limits,
    admission: new Admission(limits),
    observer,
  });
  const at = (name: string): ListenAddress => ({ name, endpoint: { host: '127.0.0.1', port: 0 } });
  const listeners = new Listeners({
    addresses: [at('lan'), at('wan')],
    sources: [],
    transport,
    listen: { backlog: 511, keepAlive },
    observer,
    accept: (connection, listener) => sessions.accept(connection, listener),
  });
  await store.start(new AbortController().signal);
  await listeners.start();
  onTestFinished(async () => {
    await listeners.stop();
    await store.stop();
  });
  const [lan, wan] = ['lan', 'wan'].map((name) => listeners.status.find((one) => one.name === name)?.address?.port);
  const definition = `service {
    kind = "mesh-gateway", name = "gateway", address = "127.0.0.1", port = ${lan}
    tagged_addresses { wan { address = "127.0.0.1", port = ${wan} } }
  }`;
  return { datacenter, events, definition };
}
