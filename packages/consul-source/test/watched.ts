import { formatEndpoint } from '@meshgate/core';
import type { Route, RouteSnapshot } from '@meshgate/core';

/** Follows a source as the route store does: restarts it when it throws, and keeps the last snapshot. */
export class Watched<T = RouteSnapshot> implements AsyncDisposable {
  readonly errors: Error[] = [];
  latest: T | undefined;
  readonly #stop = new AbortController();
  readonly #waiting = new Set<() => void>();
  readonly #following: Promise<void>;

  constructor(source: { watch(signal: AbortSignal): AsyncIterable<T> }) {
    this.#following = this.#follow(source);
  }

  /** Resolves with the first snapshot for which `holds` returns true. */
  async until(holds: (snapshot: T) => boolean): Promise<T> {
    for (;;) {
      if (this.latest !== undefined && holds(this.latest)) return this.latest;
      await this.#change();
    }
  }

  /** Resolves with the next failure whose message contains `text`. */
  async failure(text: string): Promise<Error> {
    for (;;) {
      const error = this.errors.find(({ message }) => message.includes(text));
      if (error !== undefined) return error;
      await this.#change();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#following;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve));
  }

  #changed(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  async #follow(source: { watch(signal: AbortSignal): AsyncIterable<T> }): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        for await (const snapshot of source.watch(signal)) {
          this.latest = snapshot;
          this.#changed();
        }
      } catch (reason) {
        this.errors.push(reason as Error);
        this.#changed();
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }
}

const RETRY_MS = 50;

/** Routes with their backends, one string each: `service:db 10.0.0.1:80 w3, 10.0.0.2:80 unhealthy`. */
export function summary({ routes }: RouteSnapshot): readonly string[] {
  return routes.map((route) => [route.name, backends(route)].join(' ').trim());
}

/** The route of that name as a string; `undefined` if there is none. */
export function shown(snapshot: RouteSnapshot, name: string): string | undefined {
  const route = snapshot.routes.find((one) => one.name === name);
  return route === undefined ? undefined : backends(route);
}

function backends(route: Route): string {
  return route.backends
    .map(({ address, weight, healthy }) =>
      [formatEndpoint(address), ...(weight === 1 ? [] : [`w${weight}`]), ...(healthy ? [] : ['unhealthy'])].join(' '),
    )
    .join(', ');
}
