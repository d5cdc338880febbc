import { formatEndpoint, isSameEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { overlap } from '../transport/own-addresses.ts';
import { follow } from '../watch/follow.ts';
import { SourceSet } from '../watch/source-set.ts';
import { Listener } from './listener.ts';
import type { ListenerOptions } from './listener.ts';
import type { Observer } from '../observe.ts';
import type { AccessRules, KeepAlive, ListenAddress, ListenerSource } from '../routes/route.ts';
import type { PreparedChange, Service } from '../lifecycle/service.ts';

/** A listener as an operator sees it. */
export interface ListenerStatus {
  readonly name: string;
  /** What was asked for. */
  readonly endpoint: Endpoint;
  /** What is bound; absent while it is not. */
  readonly address?: Endpoint;
  /** Which clients may connect; absent when all may. */
  readonly access?: AccessRules;
  /** As {@link ListenAddress.advertised}. */
  readonly advertised?: readonly Endpoint[];
}

/** A socket of a listener, for a successor. */
export interface BoundSocket {
  /** Of the listener. */
  readonly name: string;
  /** What was asked for, with the port in use in place of any free one. */
  readonly endpoint: Endpoint;
  /** Descriptor of the socket, which stays the listener's. */
  readonly fd: number;
  /** What `process.send` takes for it, where Node has that. */
  readonly handle?: unknown;
}

/** What {@link Listeners} follows. */
export interface ListenersOptions extends ListenerOptions {
  /** Fixed by configuration: when one of them cannot be bound, the proxy does not start. */
  readonly addresses: readonly ListenAddress[];
  /** What these list may change at any time; an address that cannot be bound is tried again. */
  readonly sources: readonly ListenerSource[];
}

/** Every address on which the proxy accepts: opens what is new, closes what is gone, leaves the rest alone. */
export class Listeners implements Service {
  readonly name = 'listeners';
  readonly #options: ListenersOptions;
  #fixed: readonly Listener[];
  readonly #sources: SourceSet<ListenerSource>;
  #prepared: readonly Listener[] = [];
  readonly #followed = new Map<ListenerSource, readonly Listener[]>();
  /** What each source has listed last. */
  readonly #listed = new Map<ListenerSource, readonly ListenAddress[]>();

  constructor(options: ListenersOptions) {
    this.#options = { ...options, rivalOf: (listener) => this.#rivalOf(listener) };
    this.#fixed = options.addresses.map((at) => new Listener(at, this.#options));
    this.#sources = listenerSources(options, (source, addresses) => this.#replace(source, addresses));
  }

  /** Each listener as an operator sees it, those of the configuration first. */
  get status(): readonly ListenerStatus[] {
    return this.#all().map(statusOf);
  }

  /** What the change that was prepared last has opened, or is about to. */
  get prepared(): readonly ListenerStatus[] {
    return this.#prepared.map(statusOf);
  }

  /** The sockets that a successor can go on with. */
  get sockets(): readonly BoundSocket[] {
    return this.#all().flatMap(({ at: { name, endpoint }, address, held }) => {
      const port = endpoint.port === 0 ? (address?.port ?? 0) : endpoint.port;
      const known = { name, endpoint: { host: endpoint.host, port } };
      return (held?.fds ?? []).map((fd, index) => ({ ...known, fd, handle: held?.handles?.[index] }));
    });
  }

  /** Whether a dial to `address` would come back to one of these listeners: by any address of this machine, or one that is advertised. */
  owns(address: Endpoint): boolean {
    for (const listener of this.#fixed) if (listener.isAt(address)) return true;
    for (const listeners of this.#followed.values())
      for (const listener of listeners) if (listener.isAt(address)) return true;
    return false;
  }

  /** All or none of the fixed ones. Does not wait for the sources. */
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
   * Opens those of the fixed `addresses` that are not open yet, all or none; what they accept waits until the change is committed. Those
   * of the same address go on, under another name perhaps. An address that overlaps with one that is to be closed is opened only then,
   * as soon as it can be. A source that another of its name replaces leaves that one its listeners.
   *
   * @param sources from then on; those that are followed already go on
   * @throws the system's error when one cannot be bound; nothing has changed then
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
      // Before another one takes its name: what is told last of a name is what holds.
      await closed;
      report();
      for (const [at, listener] of added) if (isBlocking(at)) listener.openEventually(closed);
      gate.open();
      await this.#replaceSources(sources);
      this.#listAgain();
    };
    return { commit, discard };
  }

  /** Connections accepted from now on have this TCP keepalive; `listen.keepAlive` of the options is for what is opened later. */
  keepAlive(keepAlive: KeepAlive): void {
    for (const listener of this.#all()) listener.keepAlive(keepAlive);
  }

  /** Stops accepting, everywhere. Accepted connections live on. */
  async stop(): Promise<void> {
    await this.#sources.stop();
    await this.#closeAll();
  }

  /** {@link stop}, when a successor goes on with the sockets. */
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

  /** The fixed ones have changed: what one of them has taken from a source is not the source's any more, what it leaves is again. */
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
    // What stays by its address may have got another name.
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

  /** Configuration goes first: an address that it has bound is served already, whatever a source calls it. */
  #isFixed({ endpoint }: ListenAddress): boolean {
    return this.#fixed.some((listener) => formatEndpoint(listener.at.endpoint) === formatEndpoint(endpoint));
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
 * What names listeners while the proxy runs.
 *
 * @param onList called with each list; what it throws counts as a failure of the source
 * @param outer ends all of them when it aborts
 */
export function listenerSources(
  { sources, observer }: Pick<ListenersOptions, 'sources' | 'observer'>,
  onList: (source: ListenerSource, addresses: readonly ListenAddress[]) => void,
  outer?: AbortSignal,
): SourceSet<ListenerSource> {
  const followOne = (source: ListenerSource, signal: AbortSignal): Promise<unknown> =>
    follow((inner) => source.watch(inner), signal, {
      onValue: (addresses) => onList(source, addresses),
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

/** Between listeners that are open already and everybody else: keeps what they accept and report until it is known whether they stay. */
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

  /** Lets everything through, what has come first. */
  open(): void {
    this.#state = 'open';
    for (const one of this.#held.splice(0)) one.pass();
  }

  /** Nothing gets through, then or later. */
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

/** What has come to a closed gate. */
interface HeldBack {
  pass(): void;
  refuse(): void;
}

const NO_LISTENERS: readonly Listener[] = [];

/** Which listeners go on, and as what: those of the same name and address, and then those of the same address. */
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
  // Of "any free port" there may be several, which have nothing in common.
  for (const at of wanted)
    if (!kept.has(at) && at.endpoint.port !== 0) keep(at, (one) => isSameEndpoint(one.endpoint, at.endpoint));
  return kept;
}

/**
 * Has listeners go on under their new names.
 *
 * @returns reports these: to be called when whoever had one of them has given it up
 */
function adoptAll(kept: ReadonlyMap<ListenAddress, Listener>): () => void {
  const reports = Array.from(kept, ([at, listener]) => listener.adopt(at));
  return () => reports.forEach((report) => report());
}

function isListed(one: ListenAddress, wanted: ListenAddress): boolean {
  const isSameHost = one.name === wanted.name && one.endpoint.host === wanted.endpoint.host;
  // Any free port is the one that it has.
  return isSameHost && (wanted.endpoint.port === 0 || one.endpoint.port === wanted.endpoint.port);
}
