import type { Observer, ProxyEvent } from '../observe.ts';
import { formatEndpoint } from '../transport/endpoint.ts';

/** Older problems are over, or are reported again soon: a name that cannot be resolved is queried twice a minute. */
const REMEMBERED_MS = 60_000;

interface Trouble {
  readonly message: string;
  readonly at: number;
}

/**
 * Problems of this machine and its name servers within the last minute: shortages of file descriptors, local ports,
 * memory or permissions, names without an address, impaired network paths. An observer that provides warnings for
 * readiness.
 */
export class RecentTroubles implements Observer {
  readonly name = 'recent-troubles';
  /** By subject. Bounded by configuration: one for dials, a few for networks, one for each backend name. */
  readonly #troubles = new Map<string, Trouble>();
  /** The reasons of paused listeners, by name. */
  readonly #paused = new Map<string, string>();

  /** One sentence per problem; empty if there is none. */
  get warnings(): readonly string[] {
    const oldest = performance.now() - REMEMBERED_MS;
    for (const [key, { at }] of this.#troubles) if (at <= oldest) this.#troubles.delete(key);
    return [
      ...Array.from(this.#troubles.values(), ({ message }) => message),
      ...Array.from(this.#paused, ([listener, reason]) => `listener ${listener} does not accept: ${reason}`),
    ];
  }

  observe(event: ProxyEvent): void {
    if (event.type === 'dial.failed') this.#onDialFailed(event);
    else if (event.type === 'resolution.failed') this.#onResolutionFailed(event);
    else if (event.type === 'path.impaired') this.#onPathImpaired(event);
    else if (event.type === 'listener.paused') this.#paused.set(event.listener, event.reason.message);
    else if (event.type === 'listener.resumed' || event.type === 'listener.closed') this.#paused.delete(event.listener);
  }

  #onDialFailed({ error }: Extract<ProxyEvent, { type: 'dial.failed' }>): void {
    if (error.code !== 'LOCAL_RESOURCE') return;
    this.#note('dial', `this machine ran short within the last minute: ${error.message}`);
  }

  #onResolutionFailed({ host, error, lastGood }: Extract<ProxyEvent, { type: 'resolution.failed' }>): void {
    const rest = lastGood ? 'using its last addresses' : 'it has no address';
    this.#note(`name ${host}`, `backend ${host} not resolved within the last minute, ${rest}: ${error.message}`);
  }

  #onPathImpaired({ problem, side, address, reason }: Extract<ProxyEvent, { type: 'path.impaired' }>): void {
    const to = side === 'downstream' ? 'client' : 'backend';
    this.#note(
      `path ${problem} ${side}`,
      `network path to ${to} ${formatEndpoint(address)} impaired within the last minute: ${reason}`,
    );
  }

  #note(key: string, message: string): void {
    this.#troubles.set(key, { message, at: performance.now() });
  }
}
