import { ProxyError } from '@meshgate/core';
import type {
  ConnectionFilter,
  FilterContext,
  FilterResult,
  ListenAddress,
  ListenerSource,
  Resolver,
  RouteSnapshot,
  RouteSource,
  Transport,
} from '@meshgate/core';
import { Cell } from '@meshgate/core/parts';
import type { RouteTable } from '@meshgate/core/parts';
import { authorize, notExported } from '@meshgate/mesh';
import type { Authorizer, ProxySource, ProxyView } from '@meshgate/mesh';
import type { IdentityStore } from './identity-store.ts';
import { isTls, PLAIN_TEXT } from './permissive.ts';
import { acceptMutualTls } from './server-handshake.ts';
import { PUBLIC, sidecarListeners, sidecarRoutes } from './sidecar-routes.ts';
import { withUnixSockets } from './unix-sockets.ts';

/** Inputs of {@link sidecarParts}. */
export interface SidecarOptions {
  /** Source of listeners and targets. */
  readonly proxy: ProxySource;
  /** The proxy's identity, as a client and as a server. */
  readonly identity: IdentityStore;
}

/** The parts that a Connect proxy adds to a proxy's pipeline. */
export interface SidecarParts {
  /** One route for the application, and one for each upstream. */
  readonly routes: RouteSource;
  /** A listener for each route; none before there are routes and an identity. */
  readonly listeners: ListenerSource;
  /** The filter of every listener: terminates TLS on the public one; the others need no sniffing. */
  readonly filter: ConnectionFilter;
  /** Returns the transport to listen with, which sets the permissions of unix sockets. */
  transport(inner: Transport): Transport;
  /** Authorizes by the intentions from the proxy's source. */
  readonly intentions: Authorizer;
}

/** Creates the parts of a Connect proxy. Nothing runs until they are followed; `routes` keeps the others up to date. */
export function sidecarParts({ proxy, identity }: SidecarOptions): SidecarParts {
  const view = new Cell<ProxyView>();
  return {
    routes: { name: proxy.name, watch: (signal) => routesOf(proxy, view, signal) },
    listeners: { name: proxy.name, watch: (signal) => listenersOf(view, identity, signal) },
    filter: { name: 'connect', filter: (client) => accept(client, identity, view.value) },
    transport: (inner) => withUnixSockets(inner, () => view.value),
    intentions: byIntentions(view),
  };
}

/** Resolves the route by the name of the listener alone, not by anything that the client sends. */
export function byListener(routes: { readonly table: RouteTable }): Resolver {
  return {
    resolve(_hello, { listener }) {
      for (const index of routes.table.indexes) {
        const route = index.routes.get(listener);
        if (route !== undefined) return route;
      }
      return undefined;
    },
  };
}

async function* routesOf(
  proxy: ProxySource,
  current: Cell<ProxyView>,
  signal: AbortSignal,
): AsyncGenerator<RouteSnapshot> {
  for await (const view of proxy.watch(signal)) {
    yield sidecarRoutes(view);
    // The view is in use once the next one is requested: now the listeners may follow.
    current.set(view);
  }
}

async function* listenersOf(
  current: Cell<ProxyView>,
  identity: IdentityStore,
  signal: AbortSignal,
): AsyncGenerator<readonly ListenAddress[]> {
  await identity.changes(signal).next();
  for await (const view of current.watch(signal)) yield sidecarListeners(view);
}

async function accept(
  client: FilterContext,
  { current }: IdentityStore,
  view: ProxyView | undefined,
): Promise<FilterResult> {
  if (client.connection.listener !== PUBLIC) return OPAQUE_TCP;
  // Waits for the client's first byte, which distinguishes TLS from plain text, and passes it on.
  const head = view?.mutualTls === 'permissive' ? await client.peek(1) : undefined;
  if (head !== undefined && !isTls(head)) {
    client.set(PLAIN_TEXT, true);
    return OPAQUE_TCP;
  }
  if (current !== undefined) return acceptMutualTls(client, current, head);
  throw new ProxyError('AUTHORIZATION_FAILED', 'no certificate yet');
}

/** On an upstream listener, the application need not send first: it often waits for the server. */
const OPAQUE_TCP: FilterResult = { kind: 'hello', hello: { protocol: 'tcp' } };

function byIntentions(current: Cell<ProxyView>): Authorizer {
  return {
    authorize({ source, sourcePeer }, destination) {
      const view = current.value;
      if (view === undefined) return Promise.reject(new Error('intentions are unknown'));
      const request = { source, ...(sourcePeer === undefined ? {} : { sourcePeer }), ...destination };
      const { importers, intentions, intentionDefault, proxy } = view;
      const verdict = authorize(request, intentions, intentionDefault);
      const isStranger = sourcePeer !== undefined && importers?.includes(sourcePeer) === false;
      return Promise.resolve(verdict.allowed && isStranger ? notExported(proxy.service, sourcePeer) : verdict);
    },
  };
}
