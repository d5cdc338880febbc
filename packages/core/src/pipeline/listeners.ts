import { isSameEndpoint, unixPath } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { overlap } from '../transport/own-addresses.ts';
import { follow } from '../watch/follow.ts';
import { SourceSet } from '../watch/source-set.ts';
import { listenerProblems, shownProblems } from '../routes/snapshot-problems.ts';
import { Listener } from './listener.ts';
import type { ListenerOptions } from './listener.ts';
import type { Observer } from '../observe.ts';
import type { AccessRules, KeepAlive, ListenAddress, ListenerSource } from '../routes/route.ts';
import type { PreparedChange, Service } from '../lifecycle/service.ts';

/** A listener in the operator's view. */
export interface ListenerStatus {
  readonly name: string;
  /** The requested address. */
  readonly endpoint: Endpoint;
  /** The bound address; absent while the listener is not bound. */
  readonly address?: Endpoint;
  /** Access rules; absent if all clients may connect. */
  readonly access?: AccessRules;
  /** As in {@link ListenAddress.advertised}. */
  readonly advertised?: readonly Endpoint[];
}

/** A listening socket, for a successor. */
export interface BoundSocket {
  /** Name of the listener. */
  readonly name: string;
  /** The requested address, with the bound port if port 0 was requested. */
  readonly endpoint: Endpoint;
  /** File descriptor; the listener keeps its ownership. */
  readonly fd: number;
  /** The handle to pass to `process.send`, if Node has one. */
  readonly handle?: unknown;
}

/** Settings of {@link Listeners}. */
export interface ListenersOptions extends ListenerOptions {
  /** Listeners fixed by configuration: if one of them cannot be bound, the proxy does not start. */
  readonly addresses: readonly ListenAddress[];
  /** Sources whose listeners may change at any time; an address that cannot be bound is retried. */
  readonly sources: readonly ListenerSource[];
}

/** All listeners of a proxy: opens new ones, closes removed ones, and keeps the rest unchanged. */
export class Listeners implements Service {
  readonly name = 'listeners';
  readonly #options: ListenersOptions;
  #fixed: readonly Listener[];
  readonly #sources: SourceSet<ListenerSource>;
  #prepared: readonly Listener[] = [];
  readonly #followed = new Map<ListenerSource, readonly Listener[]>();
  /** The last list of each source. */
  readonly #listed = new Map<ListenerSource, readonly ListenAddress[]>();

  constructor(options: ListenersOptions) {
    this.#options = { ...options, rivalOf: (listener) => this.#rivalOf(listener) };
    this.#fixed = options.addresses.map((at) => new Listener(at, this.#options));
    this.#sources = listenerSources(options, (source, addresses) => this.#replace(source, addresses));
  }

  /** State of each listener, those of the configuration first. */
  get status(): readonly ListenerStatus[] {
    return this.#all().map(statusOf);
  }

  /** Listeners that the last prepared change has opened or will open. */
  get prepared(): readonly ListenerStatus[] {
    return this.#prepared.map(statusOf);
  }

  /** Sockets that a successor can inherit. */
  get sockets(): readonly BoundSocket[] {
    return this.#all().flatMap(({ at: { name, endpoint }, address, held }) => {
      const port = endpoint.port === 0 ? (address?.port ?? 0) : endpoint.port;
      const known = { name, endpoint: { host: endpoint.host, port } };
      return (held?.fds ?? []).map((fd, index) => ({ ...known, fd, handle: held?.handles?.[index] }));
    });
  }

  /** Whether a dial to `address` would reach a listener, through any address of this machine or an advertised one. */
  owns(address: Endpoint): boolean {
    for (const listener of this.#fixed) if (listener.isAt(address)) return true;
    for (const listeners of this.#followed.values())
      for (const listener of listeners) if (listener.isAt(address)) return true;
    return false;
  }

  /** Opens all fixed listeners or none. Does not wait for the sources. */
  async start(): Promise<void> {
    const opened = await Promise.allSettled(this.#fixed.map((listener) => listener.open()));
    const failed = opened.find((result) => result.status === 'rejected');
    if (failed !== undefined) {
      await this.#closeAll();
      throw failed.reason;
    }
    this.#sources.start();
  }

  /**
   * Opens the new ones among the fixed `addresses`, all or none; the connections that they accept wait for the commit.
   * Listeners of unchanged addresses continue, under a new name if it changed. An address that overlaps with a removed
   * one is opened only after the commit, as soon as it is free. If a source is replaced by one with the same name, the
   * new source takes over its listeners.
   *
   * @param sources the sources after the commit; those already followed continue
   * @throws the system's error if an address cannot be bound; nothing has changed then
   */
  async prepare(
    addresses: readonly ListenAddress[],
    sources: readonly ListenerSource[] = this.#sources.current,
  ): Promise<PreparedChange> {
    const kept = keptBy(this.#all(), addresses);
    const stays = new Set(kept.values());
    const gone = this.#fixed.filter((listener) => !stays.has(listener));
    const isBlocking = (at: ListenAddress): boolean => gone.some((other) => overlap(other.at.endpoint, at.endpoint));
    const gate = new Gate(this.#options);
    const gated = { ...this.#options, accept: gate.accept, observer: gate.observer };
    const added = new Map(addresses.filter((at) => !kept.has(at)).map((at) => [at, new Listener(at, gated)]));
    this.#prepared = Array.from(added.values());
    const opened = await Promise.allSettled(
      Array.from(added, ([at, listener]) => (isBlocking(at) ? undefined : listener.open())),
    );
    const discard = async (): Promise<void> => {
      gate.refuse();
      await Promise.all(Array.from(added.values(), (listener) => listener.close()));
    };
    const failed = opened.find((result) => result.status === 'rejected');
    if (failed !== undefined) {
      await discard();
      throw failed.reason;
    }
    const commit = async (): Promise<void> => {
      const report = adoptAll(kept);
      this.#fixed = addresses.flatMap((at) => kept.get(at) ?? added.get(at) ?? []);
      const closed = Promise.all(gone.map((listener) => listener.close()));
      // Close first: the last event about a name must describe its current listener.
      await closed;
      report();
      for (const [at, listener] of added) if (isBlocking(at)) listener.openEventually(closed);
      gate.open();
      await this.#replaceSources(sources);
      this.#listAgain();
    };
    return { commit, discard };
  }

  /**
   * Sets the TCP keepalive of connections accepted from now on; `listen.keepAlive` of the options applies to listeners
   * opened later.
   */
  keepAlive(keepAlive: KeepAlive): void {
    for (const listener of this.#all()) listener.keepAlive(keepAlive);
  }

  /** Closes all listeners. Existing connections continue. */
  async stop(): Promise<void> {
    await this.#sources.stop();
    await this.#closeAll();
  }

  /** Like {@link stop}, but a successor keeps accepting on the sockets. */
  async release(): Promise<void> {
    await this.#sources.stop();
    await Promise.all(this.#all().map((listener) => listener.release()));
  }

  async #replaceSources(sources: readonly ListenerSource[]): Promise<void> {
    const { added, gone } = this.#sources.replace(sources);
    await this.#sources.stop(gone);
    for (const source of gone) {
      const heir = added.find(({ name }) => name === source.name);
      const listeners = this.#followed.get(source) ?? NO_LISTENERS;
      if (heir === undefined) await Promise.all(listeners.map((listener) => listener.close()));
      else this.#followed.set(heir, listeners);
      for (const map of [this.#followed, this.#listed]) map.delete(source);
    }
    this.#sources.start();
  }

  /**
   * Applies the last lists again after a change of the fixed listeners: an address may have moved from a source to the
   * configuration, or back.
   */
  #listAgain(): void {
    for (const [source, listeners] of this.#followed)
      this.#followed.set(
        source,
        listeners.filter((listener) => !this.#fixed.includes(listener)),
      );
    for (const [source, addresses] of this.#listed) this.#replace(source, addresses);
  }

  #replace(source: ListenerSource, addresses: readonly ListenAddress[]): void {
    this.#listed.set(source, addresses);
    const before = this.#followed.get(source) ?? NO_LISTENERS;
    const wanted = addresses.filter((at) => !this.#isFixed(at));
    const kept = keptBy(before, wanted);
    const stays = new Set(kept.values());
    const gone = before.filter((listener) => !stays.has(listener));
    const added = new Map(
      wanted.filter((at) => !kept.has(at)).map((at) => [at, new Listener(at, this.#options)] as const),
    );
    // A listener of an unchanged address may have a new name.
    const report = adoptAll(kept);
    this.#followed.set(
      source,
      wanted.flatMap((at) => kept.get(at) ?? added.get(at) ?? []),
    );
    const closed = Promise.all(gone.map((listener) => listener.close()));
    void closed.then(report);
    for (const [at, listener] of added) {
      const isBlocking = gone.some((other) => other.at.name === at.name || overlap(other.at.endpoint, at.endpoint));
      listener.openEventually(isBlocking ? closed : Promise.resolve());
    }
  }

  /** Configuration takes precedence: a source cannot open an address that the configuration has bound. */
  #isFixed(at: ListenAddress): boolean {
    return this.#fixed.some((listener) => isListed(listener.at, at) || isSameAddress(listener.at, at));
  }

  #rivalOf(listener: Listener): ListenAddress | undefined {
    const isRival = (other: Listener): boolean =>
      other !== listener && other.address !== undefined && overlap(other.address, listener.at.endpoint);
    return this.#all().find(isRival)?.at;
  }

  #all(): readonly Listener[] {
    return [...this.#fixed, ...Array.from(this.#followed.values()).flat()];
  }

  async #closeAll(): Promise<void> {
    await Promise.all(this.#all().map((listener) => listener.close()));
  }
}

/**
 * Creates the set of sources that add listeners at run time. A malformed list is refused as a whole: the last valid one
 * stays in use.
 *
 * @param onList called with each list; an exception counts as a failure of the source
 * @param outer ends all watches when it aborts
 */
export function listenerSources(
  { sources, observer }: Pick<ListenersOptions, 'sources' | 'observer'>,
  onList: (source: ListenerSource, addresses: readonly ListenAddress[]) => void,
  outer?: AbortSignal,
): SourceSet<ListenerSource> {
  const followOne = (source: ListenerSource, signal: AbortSignal): Promise<unknown> =>
    follow((inner) => source.watch(inner), signal, {
      onValue(addresses) {
        const problems = listenerProblems(addresses);
        if (problems.length === 0) return onList(source, addresses);
        const error = new Error(`list of listeners refused: ${shownProblems(problems).join('; ')}`);
        observer.observe({ type: 'source.refused', source: source.name, error });
      },
      onFailure: (error, retryInMs) =>
        observer.observe({ type: 'source.failed', source: source.name, error, retryInMs }),
    });
  return new SourceSet(sources, followOne, outer);
}

function statusOf({ at: { name, endpoint, access, advertised }, address }: Listener): ListenerStatus {
  return {
    name,
    endpoint,
    ...(address !== undefined && { address }),
    ...(access !== undefined && { access }),
    ...(advertised !== undefined && { advertised }),
  };
}

/** Holds back connections and events of new listeners until the change is committed or discarded. */
class Gate {
  readonly #through: Pick<ListenerOptions, 'accept' | 'observer'>;
  readonly #held: HeldBack[] = [];
  #state: 'closed' | 'open' | 'refusing' = 'closed';

  constructor(through: Pick<ListenerOptions, 'accept' | 'observer'>) {
    this.#through = through;
  }

  readonly accept: ListenerOptions['accept'] = (connection, listener) => {
    this.#arrived({
      pass: () => this.#through.accept(connection, listener),
      refuse: () => connection.destroy(),
    });
  };

  readonly observer: Observer = {
    observe: (event) => this.#arrived({ pass: () => this.#through.observer.observe(event), refuse: () => undefined }),
  };

  /** Passes on what was held back, in order, and everything afterwards. */
  open(): void {
    this.#state = 'open';
    for (const one of this.#held.splice(0)) one.pass();
  }

  /** Refuses what was held back and everything afterwards. */
  refuse(): void {
    this.#state = 'refusing';
    for (const one of this.#held.splice(0)) one.refuse();
  }

  #arrived(one: HeldBack): void {
    if (this.#state === 'closed') this.#held.push(one);
    else if (this.#state === 'open') one.pass();
    else one.refuse();
  }
}

/** A connection or an event held back by the gate. */
interface HeldBack {
  pass(): void;
  refuse(): void;
}

const NO_LISTENERS: readonly Listener[] = [];

/** Returns the listeners that continue, by new settings: those with equal name and address, then equal address. */
function keptBy(before: readonly Listener[], wanted: readonly ListenAddress[]): ReadonlyMap<ListenAddress, Listener> {
  const kept = new Map<ListenAddress, Listener>();
  const free = new Set(before);
  const keep = (at: ListenAddress, isRight: (one: ListenAddress) => boolean): void => {
    const listener = Array.from(free).find((one) => isRight(one.at));
    if (listener === undefined) return;
    kept.set(at, listener);
    free.delete(listener);
  };
  for (const at of wanted) keep(at, (one) => isListed(one, at));
  for (const at of wanted) if (!kept.has(at)) keep(at, (one) => isSameAddress(one, at));
  return kept;
}

/**
 * Gives listeners their new names.
 *
 * @returns reports the new names; call it after the former holders have released them
 */
function adoptAll(kept: ReadonlyMap<ListenAddress, Listener>): () => void {
  const reports = Array.from(kept, ([at, listener]) => listener.adopt(at));
  return () => reports.forEach((report) => report());
}

/** Several listeners may have port 0: they are different ports. A unix socket has no other port. */
function isSameAddress({ endpoint: one }: ListenAddress, { endpoint: other }: ListenAddress): boolean {
  return isSameEndpoint(one, other) && (one.port !== 0 || unixPath(one) !== undefined);
}

function isListed(one: ListenAddress, wanted: ListenAddress): boolean {
  const isSameHost = one.name === wanted.name && one.endpoint.host === wanted.endpoint.host;
  // Port 0 keeps the bound port.
  return isSameHost && (wanted.endpoint.port === 0 || one.endpoint.port === wanted.endpoint.port);
}
