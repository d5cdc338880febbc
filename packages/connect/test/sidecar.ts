import { DEFAULT_LIMITS, nodeTransport, ProxyError } from '@meshgate/core';
import {
  AddressBook,
  Admission,
  firstOf,
  layered,
  Listeners,
  Outliers,
  routeRules,
  RouteStore,
  Sessions,
} from '@meshgate/core/parts';
import type { Endpoint, Limits } from '@meshgate/core';
import type { Authorizer, Credentials, CredentialsSource, ProxySource, ProxyView } from '@meshgate/mesh';
import { recorder } from '@meshgate/testkit';
import type { EventOf, Recorder } from '@meshgate/testkit';
import { byListener, IdentityStore, PUBLIC, sidecarConnector, sidecarParts } from '../src/index.ts';
import { Cell } from '@meshgate/core/parts';

/** A source that yields what the test sets. */
export class Observed<T> {
  readonly name: string;
  readonly #latest = new Cell<T>();

  constructor(name: string, first: T) {
    this.name = name;
    this.#latest.set(first);
  }

  notify(value: T): void {
    this.#latest.set(value);
  }

  watch(signal: AbortSignal): AsyncGenerator<T, void, void> {
    return this.#latest.watch(signal);
  }
}

/** What a test can override. */
export interface SidecarTestOptions {
  readonly credentials: CredentialsSource | Credentials;
  readonly view: ProxySource | ProxyView;
  readonly authorizer?: Authorizer;
  readonly limits?: Partial<Limits>;
}

/** A sidecar in the test's process, with all events that it emitted. Disposing of it closes its live connections. */
export interface TestSidecar extends AsyncDisposable {
  readonly events: Recorder;
  readonly sessions: Sessions;
  readonly identity: IdentityStore;
  readonly routes: RouteStore;
  /** Address of a listener, by default the public one. Waits until it is bound. */
  address(listener?: string): Promise<Endpoint>;
  /** Close codes of the connections on `listener`, once there are `count`; `OK` if there was no error. */
  endings(listener: string, count?: number): Promise<readonly string[]>;
  /** Why the first connection on `listener` was closed. */
  failure(listener: string): Promise<ProxyError>;
}

const KEEP_ALIVE = { idleMs: 60_000 };

/** Composed of parts of core and connect, on loopback. */
export async function startSidecar(options: SidecarTestOptions): Promise<TestSidecar> {
  const transport = nodeTransport();
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const observer = recorder();
  const credentials = 'watch' in options.credentials ? options.credentials : new Observed('ca', options.credentials);
  const proxy = 'watch' in options.view ? options.view : new Observed('proxy', options.view);
  const identity = new IdentityStore({ source: credentials, observer });
  const parts = sidecarParts({ proxy, identity });
  const routes = new RouteStore({ sources: [parts.routes], observer });
  const connector = sidecarConnector({
    addresses: new AddressBook(observer),
    outliers: new Outliers(observer),
    observer,
    limits,
    keepAlive: KEEP_ALIVE,
    identity,
    authorizer: options.authorizer ?? parts.intentions,
  });
  const sessions = new Sessions({
    filtersOf: () => [parts.filter],
    sniffer: firstOf([]),
    resolver: byListener(routes),
    connector: layered(connector, [routeRules()]),
    transport,
    limits,
    admission: new Admission(limits),
    observer,
  });
  const listeners = new Listeners({
    addresses: [],
    sources: [parts.listeners],
    transport: parts.transport(transport),
    listen: { backlog: 511, keepAlive: KEEP_ALIVE },
    observer,
    accept: (connection, listener) => sessions.accept(connection, listener),
  });
  await identity.start();
  await routes.start(new AbortController().signal);
  await listeners.start();
  return { events: observer, sessions, identity, routes, address, endings, failure, [Symbol.asyncDispose]: stop };

  async function address(listener = PUBLIC): Promise<Endpoint> {
    return (await observer.until('listener.opened', (event) => event.listener === listener)).address;
  }

  async function endings(listener: string, count = 1): Promise<readonly string[]> {
    const isOn = ({ closed }: EventOf<'connection.closed'>): boolean => closed.connection.listener === listener;
    await observer.until('connection.closed', () => observer.all('connection.closed').filter(isOn).length >= count);
    return observer
      .all('connection.closed')
      .filter(isOn)
      .map(({ closed }) => closed.error?.code ?? 'OK');
  }

  async function failure(listener: string): Promise<ProxyError> {
    const { closed } = await observer.until(
      'connection.closed',
      (event) => event.closed.connection.listener === listener,
    );
    return closed.error ?? new ProxyError('INTERNAL', 'it ended well');
  }

  async function stop(): Promise<void> {
    await listeners.stop();
    for (const { connection } of sessions.live())
      sessions.cut(connection.id, new ProxyError('CLOSED_BY_DRAIN', 'the test is over'));
    await sessions.empty();
    await routes.stop();
    await identity.stop();
  }
}
