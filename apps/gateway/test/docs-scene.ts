// The gateway of the pictures in docs/operate/page.md: `MESHGATE_PICTURES=1 npx vitest run
// apps/gateway/test/page.test.ts` takes them again.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Route } from '@meshgate/core';
import type { Browser } from 'playwright-core';
import type { Traffic } from '../src/admin/traffic.ts';
import { StagedGateway } from './browser.ts';
import type { Scene } from './browser.ts';
import { ROOT } from './page.ts';

const NAMES = [
  'api',
  'billing',
  'cart',
  'db',
  'events',
  'feed',
  'geo',
  'images',
  'ledger',
  'mail',
  'orders',
  'search',
  'web',
];

const ROUTES = NAMES.map((name, index): Route => {
  const isRemote = index % 3 === 1;
  const domain = isRemote ? 'dc2' : 'dc1';
  return {
    name: isRemote ? `${name}@dc2` : name,
    kind: isRemote ? 'remote-datacenter' : 'local-service',
    serverNames: [`${name}.default.${domain}.internal.f3a1.consul`],
    origin: isRemote ? { service: name, datacenter: 'dc2' } : { service: name },
    backends: Array.from({ length: 2 + (index % 3) }, (_, number) => ({
      address: {
        host: isRemote ? `203.0.113.${10 + number}` : `10.0.${index}.${10 + number}`,
        port: isRemote ? 443 : 21_000,
      },
      weight: 1,
      healthy: index !== 3 || number > 0,
    })),
  };
});

/** Counters that grow in waves. */
function wavyTraffic(): () => Traffic {
  const closed = NAMES.map(() => 0);
  let tick = 0;
  return () => {
    tick += 1;
    const routes = ROUTES.map(({ name }, index) => {
      closed[index] = (closed[index] ?? 0) + Math.round((index + 2) * (3 + 2 * Math.sin(tick / 3 + index)));
      const count = closed[index] ?? 0;
      const errors = index === 3 ? { CONNECT_REFUSED: Math.round(count / 6) } : {};
      return [
        name,
        { active: 5 + index * 3, closed: count, bytesUp: count * 4_000, bytesDown: count * 90_000, errors },
      ] as const;
    });
    return { accepted: closed.reduce((sum, one) => sum + one, 0), refused: 0, routes: Object.fromEntries(routes) };
  };
}

const SCENE: Scene = {
  routes: ROUTES,
  connections: [],
  readiness: { ready: true, reasons: [], warnings: ['listener wan: not bound to 203.0.113.5:443'] },
  traffic: wavyTraffic(),
};

/** Takes the pictures of the docs, after some seconds of traffic. */
export async function takePictures(browser: Browser): Promise<void> {
  await using gateway = new StagedGateway(SCENE);
  const url = await gateway.start();
  const context = await browser.newContext({ viewport: { width: 1_000, height: 560 }, colorScheme: 'light' });
  const page = await context.newPage();
  const save = async (name: string): Promise<void> =>
    writeFile(join(ROOT, 'docs/operate', `page-${name}.png`), await page.screenshot());
  await page.goto(url);
  await page.waitForTimeout(25_000);
  await save('overview');
  await page.getByRole('link', { name: 'Routes' }).click();
  await page.getByText('13 of 13 routes').waitFor();
  await page.waitForTimeout(1_500);
  await save('routes');
  await page.getByRole('link', { name: 'Explain' }).click();
  await page.getByLabel('Server name').fill('billing.default.dc2.internal.f3a1.consul');
  await page.getByRole('button', { name: 'Explain' }).click();
  await page.getByRole('heading', { name: 'Datacenter' }).waitFor();
  await save('explain');
  await context.close();
}
