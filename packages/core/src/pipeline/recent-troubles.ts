import type { Observer, ProxyEvent } from '../observe.ts';
import { formatEndpoint } from '../transport/endpoint.ts';

/** Beyond it nobody needs to act: it is over, or is heard of again soon. A name that cannot be resolved is asked for twice a minute. */
const REMEMBERED_MS = 60_000;

interface Trouble {
  readonly message: string;
  readonly at: number;
}

/**
 * What this machine and its name system have lacked within the last minute: file descriptors, local ports, memory, permissions,
 * addresses of backends, a network that passes everything on. For readiness to warn of; an observer among others.
 */
export class RecentTroubles implements Observer {
  readonly name = 'recent-troubles';
  /** By what it is about. Bounded by configuration: one for dials, a few for networks, one for each name of a backend. */
  readonly #troubles = new Map<string, Trouble>();
  /** By listener: why it does not accept. */
  readonly #paused = new Map<string, string>();

  /** One sentence for each; empty when nothing lacks. */
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
