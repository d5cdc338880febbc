import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { needs, tlsBackend, tlsClient } from '@meshgate/testkit';
import type { Route } from '@meshgate/core';
import axe from 'axe-core';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ConnectionView } from '../src/admin/views.ts';
import { findChromium, launchChromium, StagedGateway, troublesOf } from './browser.ts';
import type { Scene } from './browser.ts';
import { takePictures } from './docs-scene.ts';
import { gatewayFolder, startGateway, TEST_CONFIG } from './daemon.ts';
import { pageText, ROOT } from './page.ts';
import { freePorts } from './sidecar/agent.ts';

// A browser and two gateways need longer on a busy machine; each wait has a deadline of its own.
vi.setConfig({ testTimeout: 60_000 });

const HOSTILE = '<img src=x onerror=alert(1)>';

const MANY = 10_000;

function routeAt(index: number): Route {
  return {
    name: `service-${index}`,
    kind: 'remote-datacenter',
    serverNames: [`service-${index}.default.dc2.internal.example`],
    backends: [
      { address: { host: `10.0.0.${index % 10}`, port: 8443 }, weight: 1, healthy: true },
      { address: { host: `10.0.1.${index % 250}`, port: 8443 }, weight: 1, healthy: index % 7 > 0 },
    ],
    origin: { service: `service-${index}`, datacenter: 'dc2' },
  };
}

const HOSTILE_ROUTE: Route = {
  ...routeAt(3),
  name: HOSTILE,
  serverNames: ['hostile.example'],
  origin: { [HOSTILE]: HOSTILE },
};

const NARROW_ROUTE: Route = {
  ...routeAt(4),
  name: 'narrow',
  serverNames: ['narrow.example'],
  access: { allow: ['192.0.2.0/24'], deny: ['192.0.2.7'] },
  limits: { connections: 3 },
  backends: [],
  withoutBackend: 'NO_GATEWAY',
};

function connectionAt(index: number): ConnectionView {
  return {
    id: `c${index}`,
    state: 'splicing',
    listener: 'public',
    remote: `198.51.100.${index % 250}:${1_024 + index}`,
    serverName: index === 0 ? HOSTILE : `service-${index}.example`,
    route: `service-${index}`,
    backend: '10.0.0.1:8443',
    bytesUp: index * 1_000,
    bytesDown: index * 20_000,
    ageMs: (MANY - index) * 1_000,
    idleMs: index,
  };
}

const SCENE: Scene = {
  routes: [HOSTILE_ROUTE, NARROW_ROUTE, ...Array.from({ length: MANY - 2 }, (_, index) => routeAt(index))],
  connections: Array.from({ length: MANY }, (_, index) => connectionAt(index)),
  readiness: { ready: false, reasons: [`source ${HOSTILE}: no snapshot yet`], warnings: ['listener wan: not bound'] },
  traffic: () => ({
    accepted: 0,
    refused: 0,
    routes: {
      'service-1': { active: 12, closed: 4, bytesUp: 1, bytesDown: 2, errors: { CONNECT_REFUSED: 42 } },
      [HOSTILE]: { active: 1, closed: 0, bytesUp: 0, bytesDown: 0, errors: {} },
    },
  }),
};

const THEMES = ['light', 'dark'] as const;

needs('chromium', findChromium())('the page in a browser', () => {
  let browser: Browser;
  let context: BrowserContext | undefined;
  beforeAll(async () => {
    browser = await launchChromium();
    if ((process.env['MESHGATE_PICTURES'] ?? '') !== '') await takePictures(browser);
  }, 60_000);
  afterEach(() => context?.close());
  afterAll(() => browser.close());

  async function open(options: Parameters<Browser['newContext']>[0] = {}): Promise<Page> {
    context = await browser.newContext({ viewport: { width: 1_200, height: 800 }, ...options });
    context.setDefaultTimeout(4_000);
    return context.newPage();
  }

  it('shows every view, with no name interpreted as HTML, and no errors', async () => {
    await using gateway = new StagedGateway(SCENE);
    const url = await gateway.start();
    const page = await open();
    const troubles = troublesOf(page);
    const queried: string[] = [];
    page.on('request', (request) => queried.push(new URL(request.url()).origin));
    await page.goto(url);
    await page.getByText('Not ready', { exact: true }).waitFor();
    await page.getByText(`source ${HOSTILE}: no snapshot yet`).waitFor();
    await page.getByText('expected the key "port"').first().waitFor();
    await page.getByText('wan 203.0.113.5:443 is not bound').waitFor();

    await page.getByRole('link', { name: 'Routes' }).click();
    await page.getByText('10,000 of 10,000 routes').waitFor();
    expect(await page.getByRole('row').count()).toBeLessThan(60);
    await page.getByRole('button', { name: HOSTILE }).click();
    await page.getByRole('region', { name: `Route ${HOSTILE}` }).waitFor();
    await page.getByLabel('Search').fill('service-4711');
    await page.getByText('1 of 10,000 routes').waitFor();
    await page.getByLabel('Search').fill('');
    await page.getByLabel('Sort by').selectOption('errors');
    await page.getByRole('button', { name: 'service-1', exact: true }).click();
    await page.getByText('CONNECT_REFUSED: 42').waitFor();

    await page.getByRole('link', { name: 'Connections' }).click();
    await page.getByText('10,000 of 10,000 connections').waitFor();
    await page.getByRole('cell', { name: HOSTILE }).waitFor();
    await page.getByLabel('Search').fill('service-9999.');
    await page.getByText('1 of 10,000 connections').waitFor();

    await page.getByRole('link', { name: 'Explain' }).click();
    await page.getByLabel('Server name').fill('hostile.example');
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.getByRole('heading', { name: `Route ${HOSTILE}` }).waitFor();
    await page.getByText(`${HOSTILE}: ${HOSTILE}`).waitFor();
    await page.getByLabel('Server name').fill('service-4711.default.dc2.internal.example');
    await page.getByRole('button', { name: 'Explain' }).click();
    const steps = page.locator('ol.path > li');
    await steps.filter({ hasText: 'Datacenter' }).getByText('dc2').waitFor();
    expect(await steps.locator('h2').allTextContents()).toEqual([
      'Client',
      'This gateway',
      'Rule',
      'Route service-4711',
      'Datacenter',
      'Reached by',
    ]);
    await page.getByLabel('Server name').fill('narrow.example');
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.getByText('clients: only 192.0.2.0/24; not 192.0.2.7').waitFor();
    await page.getByText('limit connections: 3').waitFor();
    await page.getByText('none: closed with NO_GATEWAY').waitFor();
    await page.getByLabel('Server name').fill('nobody.example');
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.getByText('closed with ROUTE_NOT_FOUND').waitFor();
    await page.getByLabel('Server name').fill('10.0.0.1');
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.getByText('no client can send').waitFor();

    expect(await page.locator('img').count()).toBe(0);
    expect([...new Set(queried)]).toEqual([new URL(url).origin]);
    expect(troubles).toEqual([]);
  });

  it('shows no character that turns others around or that nobody sees', async () => {
    const turned = 'gw\u202Egnp.exe\u200B\u0007';
    const shown = 'gw\\u202egnp.exe\\u200b\\u0007';
    const route = { ...routeAt(1), name: turned, origin: { service: turned } };
    await using gateway = new StagedGateway({
      ...SCENE,
      routes: [route],
      connections: [{ ...connectionAt(1), route: turned }],
      readiness: { ready: false, reasons: [turned], warnings: [] },
    });
    const url = await gateway.start();
    const page = await open({ viewport: { width: 320, height: 800 } });
    await page.goto(url);
    await page.getByText(shown).first().waitFor();
    for (const view of ['routes', 'connections']) {
      await page.goto(`${url}#${view}`);
      await page.getByText(shown, { exact: true }).first().waitFor();
    }
    await page.goto(`${url}#routes`);
    await page.getByRole('button', { name: shown }).click();
    const close = await page.getByRole('button', { name: 'Close details' }).boundingBox();
    const title = await page.getByRole('heading', { name: shown }).boundingBox();
    const padding = 120;
    expect((title?.x ?? 0) + (title?.width ?? 0) - padding).toBeLessThanOrEqual(close?.x ?? 0);
    await page.goto(`${url}#explain`);
    await page.getByLabel('Server name').fill(route.serverNames[0] ?? '');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: `Route ${shown}` }).waitFor();
    // oxlint-disable-next-line no-control-regex -- it is what is looked for
    expect(await page.locator('body').innerText()).not.toMatch(/[\u202e\u200b\u0007]/);
  });

  it('closes a connection, after a confirmation', async () => {
    await using gateway = new StagedGateway({ ...SCENE, connections: [connectionAt(1), connectionAt(2)] });
    const url = await gateway.start();
    const page = await open();
    await page.goto(`${url}#connections`);
    await page.getByRole('button', { name: 'Close connection c1' }).click();
    expect(gateway.closed).toEqual([]);
    await page.getByRole('button', { name: 'Yes, close connection c1' }).click();
    await page.getByText('Connection c1 is closed.').waitFor();
    expect(gateway.closed).toEqual(['c1']);
    await page.getByText('1 of 1 connections').waitFor();
  });

  it('shows route changes, and the progress of a drain', async () => {
    await using gateway = new StagedGateway({ ...SCENE, routes: [routeAt(1)] });
    const url = await gateway.start();
    const page = await open();
    await page.goto(url);
    await page.getByText('None since this page was opened.').waitFor();
    gateway.replace([routeAt(2)]);
    await page.getByText('appeared: service-2; vanished: service-1').waitFor();
    gateway.isDraining = true;
    await page.getByRole('progressbar').waitFor();
    await page.getByText('draining', { exact: true }).waitFor();
  });

  it('shows that the gateway is unreachable, and recovers by itself', async () => {
    await using gateway = new StagedGateway({ ...SCENE, routes: [routeAt(1)], connections: [] });
    const url = await gateway.start();
    const page = await open();
    const troubles = troublesOf(page);
    await page.goto(url);
    await page.getByText('Not ready', { exact: true }).waitFor();
    await gateway.stop();
    await page.getByText('No response from the gateway since ').waitFor();
    await page.getByText('Not ready', { exact: true }).waitFor();
    await gateway.restart();
    await page.getByText('No response from the gateway since ').waitFor({ state: 'detached' });
    expect(troubles).toEqual([]);
  });

  it('is served by the gateway itself', async () => {
    await using files = await gatewayFolder([{ name: 'api.example.com', address: { host: '10.0.0.1', port: 8443 } }]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const page = await open();
    const troubles = troublesOf(page);
    await page.goto(gateway.admin);
    await page.getByText('Ready', { exact: true }).waitFor();
    await page.goto(`${gateway.admin}/#routes`);
    await page.getByRole('button', { name: 'api' }).waitFor();
    expect(troubles).toEqual([]);
  });

  it('shows and operates a running gateway: every view, a connection that it closes, and the loss of the gateway', async () => {
    await using api = await tlsBackend('api.example.com');
    const [admin = 0] = await freePorts(1);
    await using files = await gatewayFolder([api], { admin: { port: admin } });
    const { host: address, port } = api.address;
    const hostile = { name: HOSTILE, serverNames: ['hostile.example.com'], backends: [{ address, port }] };
    await files.write('more.yaml', { routes: [hostile] });
    const sources = ['routes.yaml', 'more.yaml'].map((path) => ({ use: 'file', path }));
    await files.write('meshgate.yaml', { ...TEST_CONFIG, admin: { port: admin }, sources });
    const page = await open();
    const troubles = troublesOf(page);
    {
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      await using kept = await tlsClient(gateway.address, 'api.example.com');
      await using client = await tlsClient(gateway.address, 'hostile.example.com');
      for (const one of [kept, client]) expect(await one.echo('hello')).toBe('hello');
      await page.goto(gateway.admin);
      await page.getByText('Ready', { exact: true }).waitFor();
      await page.goto(`${gateway.admin}/#routes`);
      await page.getByRole('button', { name: HOSTILE }).click();
      await page.getByText(`${address}:${port}`).first().waitFor();
      await page.goto(`${gateway.admin}/#connections`);
      await page.getByText('2 of 2 connections').waitFor();
      await page.getByRole('button', { name: 'Close connection 2', exact: true }).click();
      await page.getByRole('button', { name: 'Yes, close connection 2' }).click();
      await page.getByText('Connection 2 is closed.').waitFor();
      await client.closed;
      expect(await gateway.line(({ id }) => id === '2')).toMatchObject({ code: 'CLOSED_BY_ADMIN', route: HOSTILE });
      expect(await kept.echo('still')).toBe('still');
      await page.getByText('1 of 1 connections').waitFor();
      await page.goto(`${gateway.admin}/#explain`);
      await page.getByLabel('Server name').fill('api.example.com');
      await page.keyboard.press('Enter');
      await page.getByText('exact match').first().waitFor();
    }
    await page.getByText('No response from the gateway since ').waitFor();
    await using again = await startGateway(`${files.path}/meshgate.yaml`);
    await page.getByText('No response from the gateway since ').waitFor({ state: 'detached' });
    expect(await again.query('/ready')).toMatchObject({ status: 200 });
    expect(await page.locator('img').count()).toBe(0);
    expect(troubles.filter((trouble) => !/ERR_CONNECTION|Failed to load resource/.test(trouble))).toEqual([]);
  });

  it.each(THEMES)('has no accessibility problems, and sufficient contrast, in %s', async (colorScheme) => {
    await using gateway = new StagedGateway({ ...SCENE, connections: SCENE.connections.slice(0, 30) });
    const url = await gateway.start();
    const page = await open({ colorScheme, bypassCSP: true });
    for (const view of ['overview', 'routes', 'connections', 'explain']) {
      await page.goto(`${url}#${view}`);
      await page
        .getByText(view === 'overview' ? 'Running since' : view === 'explain' ? 'Server name' : ' of ')
        .first()
        .waitFor();
      if (view === 'routes') await page.getByRole('button', { name: 'service-1', exact: true }).click();
      await page.evaluate(axe.source);
      const violations = await page.evaluate(async () => {
        const loaded = Reflect.get(globalThis, 'axe') as { run(): Promise<{ violations: readonly Violation[] }> };
        const found = await loaded.run();
        return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
      });
      expect(violations, view).toEqual([]);
    }
  });

  it.each([320, 1_200, 2_560])('is exactly as wide as the window, %i pixels', async (width) => {
    await using gateway = new StagedGateway({ ...SCENE, connections: SCENE.connections.slice(0, 30) });
    const url = await gateway.start();
    const page = await open({ viewport: { width, height: 700 } });
    for (const view of ['overview', 'routes', 'connections', 'explain']) {
      await page.goto(`${url}#${view}`);
      await page
        .getByText(view === 'overview' ? 'Running since' : view === 'explain' ? 'Server name' : ' of ')
        .first()
        .waitFor();
      expect(await page.evaluate<number>('document.documentElement.scrollWidth'), view).toBeLessThanOrEqual(width);
      expect(await page.evaluate<number>(OVERLAPS), view).toBe(0);
    }
  });

  it('can be used by keyboard alone', async () => {
    await using gateway = new StagedGateway({ ...SCENE, routes: [routeAt(1)], connections: [] });
    const url = await gateway.start();
    const page = await open();
    await page.goto(url);
    await page.getByText('Running since').waitFor();
    const focused = (): Promise<string | null> => page.evaluate<string | null>('document.activeElement.textContent');
    await page.keyboard.press('Tab');
    expect(await focused()).toBe('Skip to content');
    for (const name of ['Overview', 'Routes']) {
      await page.keyboard.press('Tab');
      expect(await focused()).toBe(name);
    }
    await page.keyboard.press('Enter');
    await page.getByText('1 of 1 routes').waitFor();
    // Connections, explain, search, sort by; then the table, and the first route in it.
    for (let step = 0; step < 6; step += 1) await page.keyboard.press('Tab');
    expect(await focused()).toBe('service-1');
    await page.keyboard.press('Enter');
    await page.getByRole('region', { name: 'Route service-1' }).waitFor();
  });
});

/** Number of cells in the first row that overlap another cell, or extend beyond the row. */
const OVERLAPS = `(() => {
  const row = document.querySelector('.viewport .row');
  if (row === null) return 0;
  const { bottom } = row.getBoundingClientRect();
  const cells = [...row.children].filter(({ textContent }) => textContent !== '').map((one) => one.getBoundingClientRect());
  const areOn = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  const pairs = cells.flatMap((a, index) => cells.slice(index + 1).filter((b) => areOn(a, b)));
  return pairs.length + cells.filter((one) => one.bottom > bottom + 1).length;
})()`;

describe('docs/operate/page.md', () => {
  const pictures = Array.from(
    pageText('docs/operate/page.md').matchAll(/!\[[^\]]+\]\(([^)]+\.png)\)/g),
    ([, file = '']) => file,
  );

  it('shows pictures that exist, and are small', () => {
    expect(pictures).toEqual(['page-overview.png', 'page-routes.png', 'page-explain.png']);
    for (const file of pictures) expect(readFileSync(join(ROOT, 'docs/operate', file)).length).toBeLessThan(120_000);
  });
});

interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly html: string }[];
}

describe('the headers of the page', () => {
  it('let only its own script run, and no text become HTML', async () => {
    await using gateway = new StagedGateway(SCENE);
    const url = await gateway.start();
    const response = await fetch(url);
    await response.text();
    expect(response.headers.get('content-security-policy')).toMatch(
      /^default-src 'none'; script-src 'sha256-[\w+/=]{44}'; style-src 'sha256-[\w+/=]{44}'; .*require-trusted-types-for 'script'/,
    );
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  });
});
