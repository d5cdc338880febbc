import type { Observer, ProxyEvent } from '../observe.ts';

/** Beyond it nobody needs to act: the shortage is over, or the next one is heard of soon. */
const REMEMBERED_MS = 60_000;

interface Shortage {
  readonly message: string;
  readonly at: number;
}

/**
 * What this machine has lacked within the last minute: file descriptors, local ports, memory, permissions. For readiness to warn of; an
 * observer among others.
 */
export class LocalShortages implements Observer {
  readonly name = 'local-shortages';
  /** The last dial that failed for such a reason. */
  #dial: Shortage | undefined;
  /** By listener: why it does not accept. */
  readonly #paused = new Map<string, string>();

  /** One sentence for each; empty when nothing lacks. */
  get warnings(): readonly string[] {
    const isRecent = this.#dial !== undefined && performance.now() - this.#dial.at < REMEMBERED_MS;
    return [
      ...(this.#dial !== undefined && isRecent
        ? [`this machine ran short within the last minute: ${this.#dial.message}`]
        : []),
      ...Array.from(this.#paused, ([listener, reason]) => `listener ${listener} does not accept: ${reason}`),
    ];
  }

  observe(event: ProxyEvent): void {
    if (event.type === 'dial.failed' && event.error.code === 'LOCAL_RESOURCE')
      this.#dial = { message: event.error.message, at: performance.now() };
    else if (event.type === 'listener.paused') this.#paused.set(event.listener, event.reason.message);
    else if (event.type === 'listener.resumed' || event.type === 'listener.closed') this.#paused.delete(event.listener);
  }
}
