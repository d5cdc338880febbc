// The page in a real browser, from a real admin server of a gateway whose state the test sets.
import { existsSync } from 'node:fs';
import type { Observer } from '@meshgate/core';
import { DEFAULT_LIMITS } from '@meshgate/core';
import { indexRoutes, RouteTable } from '@meshgate/core/parts';
import type { RouteSnapshot, Route } from '@meshgate/core';
import { chromium } from 'playwright-core';
import type { Browser, Page } from 'playwright-core';
import { Registry } from 'prom-client';
import { adminEndpoints, RouteChangeFeed } from '../src/admin/endpoints.ts';
import type { AdminEndpoint } from '../src/admin/endpoint.ts';
import { openApiOf } from '../src/admin/openapi.ts';
import { AdminServer } from '../src/admin/server.ts';
import type { Readiness } from '../src/admin/readiness.ts';
import type { Traffic } from '../src/admin/traffic.ts';
import type { ConnectionView } from '../src/admin/views.ts';

const LOCATIONS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** The browser of this machine, or why there is none. */
export function findChromium(): true | string {
  return LOCATIONS.some((path) => existsSync(path)) || `no browser at ${LOCATIONS.join(', ')}`;
}

export function launchChromium(): Promise<Browser> {
  const executablePath = LOCATIONS.find((path) => existsSync(path)) ?? '';
  // Chromium has no sandbox as root; the page is our own.
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'] });
}

/** The state that the page shows. */
export interface Scene {
  readonly routes: readonly Route[];
  readonly connections: readonly ConnectionView[];
  readonly readiness: Readiness;
  /** Queried each second. */
  traffic(): Traffic;
}

/** The admin API of a gateway, without a data plane. */
export class StagedGateway implements AsyncDisposable {
  readonly closed: string[] = [];
  readonly #scene: Scene;
  readonly #changes = new RouteChangeFeed();
  #table: RouteTable;
  #snapshot: RouteSnapshot;
  #server: AdminServer;
  #port = 0;
  isDraining = false;

  constructor(scene: Scene) {
    this.#scene = scene;
    this.#snapshot = { version: '1', routes: scene.routes };
    this.#table = new RouteTable([indexRoutes('file:routes.yaml', this.#snapshot)]);
    this.#server = this.#newServer();
  }

  async start(): Promise<string> {
    await this.#server.start();
    const url = this.#server.url ?? '';
    this.#port = Number(new URL(url).port);
    return url;
  }

  async stop(): Promise<void> {
    await this.#server.stop(AbortSignal.abort());
  }

  /** Another server on the same port. */
  async restart(): Promise<void> {
    this.#server = this.#newServer();
    await this.#server.start();
  }

  /** Replaces the routes. */
  replace(routes: readonly Route[]): void {
    const previous = this.#snapshot;
    this.#snapshot = { version: `${previous.version}+`, routes };
    this.#table = new RouteTable([indexRoutes('file:routes.yaml', this.#snapshot)]);
    const { source, snapshot } = { source: 'file:routes.yaml', snapshot: this.#snapshot };
    this.#changes.observe({ type: 'routes.replaced', source, previous, snapshot, removed: [], tookMs: 0 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #newServer(): AdminServer {
    const observer: Observer = { observe: () => undefined };
    const settings = { endpoint: { host: '127.0.0.1', port: this.#port } };
    return new AdminServer({ settings, endpoints: this.#endpoints(observer), observer });
  }

  #endpoints(observer: Observer): readonly AdminEndpoint[] {
    const { connections, readiness } = this.#scene;
    const table = (): RouteTable => this.#table;
    const own = adminEndpoints({
      routes: {
        get table() {
          return table();
        },
        sources: [
          {
            name: 'file:routes.yaml',
            state: 'stale',
            routes: this.#scene.routes.length,
            lastSuccess: new Date('2026-05-07T09:15:01Z'),
            warnings: ['routes.yaml:4:7: expected the key "port", found none'],
          },
        ],
      },
      listeners: {
        status: [
          { name: 'public', endpoint: { host: '0.0.0.0', port: 8443 }, address: { host: '0.0.0.0', port: 8443 } },
          { name: 'wan', endpoint: { host: '203.0.113.5', port: 443 } },
        ],
      },
      outliers: { ejected: 1, isEjected: ({ host }) => host === '10.0.0.9' },
      limits: { ...DEFAULT_LIMITS },
      identity: { role: 'gateway', transport: 'epoll', workers: 1 },
      plugins: { adminPaths: new Map() },
      observer,
      routeChanges: this.#changes,
      logLevel: { current: 'info', set: () => undefined },
      readiness: () => readiness,
      connections: () => connections.filter(({ id }) => !this.closed.includes(id)),
      metrics: () => new Registry(),
      traffic: () => this.#scene.traffic(),
      drainProgress: () => ({
        state: this.isDraining ? 'finishing' : 'serving',
        remaining: 3,
        finished: 9,
        cut: 0,
        remainingMs: 12_000,
      }),
      checks: undefined,
      control: { settings: {}, reload: () => Promise.reject(new Error('nothing to reload')) } as never,
      close: () => Promise.resolve(0),
      heldGroups: () => [],
      preference: () => ({}),
      shutDown: () => undefined,
    });
    const all = [...own.filter(({ path }) => path !== '/connections/{id}'), this.#closing()];
    const document = { status: 200, json: openApiOf(all) };
    return all.map((one) => (one.path === '/openapi.json' ? { ...one, respond: () => document } : one));
  }

  /** Closes a connection. */
  #closing(): AdminEndpoint {
    return {
      method: 'DELETE',
      path: '/connections/{id}',
      summary: 'Closes a connection',
      responses: {},
      respond: ({ parameters: { id = '' } }) => {
        this.closed.push(id);
        return { status: 200, json: { closed: 1 } };
      },
    };
  }
}

/** Errors that must never occur on the page. */
export function troublesOf(page: Page): readonly string[] {
  const troubles: string[] = [];
  page.on('pageerror', (error) => troubles.push(`error: ${error.message}`));
  page.on('console', (message) => {
    const text = message.text();
    // Intended by tests: a gateway that is stopped, a name that no client can send.
    if (message.type() === 'error' && !/ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|status of 400/.test(text))
      troubles.push(text);
  });
  page.on('dialog', (dialog) => {
    troubles.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  return troubles;
}
