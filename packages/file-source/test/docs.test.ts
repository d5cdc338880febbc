import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseFileSourceConfig, parseRouteFile } from '../src/index.ts';
import { BACKEND_KEYS } from '../src/routes/backend.ts';
import { ACCESS_KEYS, BACKEND_DRAIN_KEYS, BACKEND_DRAINS, HEALTH_CHECK_KEYS, LIMIT_KEYS } from '@meshgate/documents';
import { BALANCES } from '../src/routes/balance.ts';
import { EGRESS_KEYS } from '../src/routes/egress.ts';
import { FAILOVER_KEYS } from '../src/routes/failover.ts';
import { FILE_KEYS, ROUTE_KEYS } from '../src/routes/route-file.ts';

const PAGE = readFileSync(new URL('../../../docs/routes.md', import.meta.url), 'utf8');
const SCHEMA = JSON.parse(readFileSync(new URL('../schema/routes.schema.json', import.meta.url), 'utf8'));
const matchesSchema = new Ajv({ strict: true, strictRequired: false }).compile(SCHEMA);

describe('docs/routes.md', () => {
  it.each(blocks('yaml'))('shows a route file without a problem: %#', (text) => {
    expect(parseRouteFile(text, 'example.yaml').problems).toEqual([]);
    expect(parseRouteFile(text, 'example.yaml').routes.length).toBeGreaterThan(0);
  });

  it.each(blocks('json'))('shows a JSON file without a problem: %#', (text) => {
    expect(parseRouteFile(text, 'example.json').problems).toEqual([]);
  });

  it.each(blocks('yaml config'))('shows valid settings of the plugin: %#', (text) => {
    for (const { use, ...settings } of parse(text).sources ?? []) {
      expect(use).toBe('file');
      expect(parseFileSourceConfig(settings)).toMatchObject({ path: settings.path });
    }
  });

  it.each([
    ...Object.keys(FILE_KEYS),
    ...Object.keys(ROUTE_KEYS),
    ...Object.keys(BACKEND_KEYS),
    ...Object.keys(HEALTH_CHECK_KEYS),
    ...Object.keys(FAILOVER_KEYS),
    ...Object.keys(EGRESS_KEYS),
    ...BACKEND_DRAINS,
    ...Object.keys(BACKEND_DRAIN_KEYS),
    ...BALANCES,
  ])('explains %s', (word) => expect(PAGE).toContain(`\`${word}\``));
});

describe('docs/access.md', () => {
  const page = readFileSync(new URL('../../../docs/access.md', import.meta.url), 'utf8');
  const [example = '', lasting = ''] = blocks('yaml routes', page);

  it('shows a valid route file, also by the schema', () => {
    const { routes, problems } = parseRouteFile(example, '/etc/meshgate/routes.yaml');
    expect(problems).toEqual([]);
    expect(routes.map(({ name }) => name)).toEqual(['admin', 'api']);
    expect(matchesSchema(parse(example)), JSON.stringify(matchesSchema.errors)).toBe(true);
    expect(parseRouteFile(lasting, '/etc/meshgate/routes.yaml')).toMatchObject({
      routes: [{ limits: { idleTimeoutMs: Infinity, halfCloseTimeoutMs: 60_000, maxAgeMs: 43_200_000 } }],
      problems: [],
    });
    expect(matchesSchema(parse(lasting)), JSON.stringify(matchesSchema.errors)).toBe(true);
  });

  it.each([...Object.keys(ACCESS_KEYS), ...Object.keys(LIMIT_KEYS)])('explains %s', (key) => {
    expect(page).toMatch(new RegExp(`\`(?:limits\\.)?${key}\``));
  });
});

describe('the JSON Schema', () => {
  it('has the keys of the parser, and requires no others', () => {
    const { definitions } = SCHEMA;
    expect(Object.keys(SCHEMA.properties).toSorted()).toEqual(Object.keys(FILE_KEYS).toSorted());
    expect(Object.keys(definitions.route.properties).toSorted()).toEqual(Object.keys(ROUTE_KEYS).toSorted());
    expect(Object.keys(definitions.backend.properties).toSorted()).toEqual(Object.keys(BACKEND_KEYS).toSorted());
    expect(Object.keys(definitions.route.properties.failover.properties)).toEqual(Object.keys(FAILOVER_KEYS));
    expect(Object.keys(definitions.route.properties.egress.properties)).toEqual(Object.keys(EGRESS_KEYS));
    expect(Object.keys(definitions.route.properties.healthCheck.properties)).toEqual(Object.keys(HEALTH_CHECK_KEYS));
    expect(Object.keys(definitions.route.properties.access.properties).toSorted()).toEqual(
      Object.keys(ACCESS_KEYS).toSorted(),
    );
    expect(Object.keys(definitions.route.properties.limits.properties).toSorted()).toEqual(
      Object.keys(LIMIT_KEYS).toSorted(),
    );
    expect(definitions.backendDrain.anyOf[0].enum).toEqual(BACKEND_DRAINS);
    expect(Object.keys(definitions.backendDrain.anyOf[1].properties)).toEqual(Object.keys(BACKEND_DRAIN_KEYS));
    expect(definitions.route.properties.balance.anyOf[0].enum).toEqual(BALANCES);
    for (const [key, need] of Object.entries(ROUTE_KEYS)) {
      expect(definitions.route.required.includes(key)).toBe(need === 'required');
    }
  });

  it.each([...blocks('yaml'), ...blocks('json')])('accepts example %#', (text) => {
    expect(matchesSchema(parse(text, { merge: true })), JSON.stringify(matchesSchema.errors)).toBe(true);
  });

  it.each([
    {},
    { routes: [{ serverNames: ['a'] }] },
    { routes: [{ serverNames: [], backends: [] }] },
    { routes: [{ serverNames: ['*.'], backends: [] }] },
    { routes: [{ backends: [] }] },
    { routes: [{ fallback: true, name: 'a', backends: [] }] },
    { routes: [{ fallback: true, serverNames: [], backends: [] }] },
    { routes: [{ fallback: false, serverNames: [], backends: [] }] },
    { routes: [{ fallback: 'yes', serverNames: ['a'], backends: [] }] },
    { routes: [{ serverNames: ['a'], listeners: [], backends: [] }] },
    { routes: [{ serverNames: ['a'], listeners: 'edge', backends: [] }] },
    { routes: [{ serverNames: ['a'], backends: [{ address: 'b', port: 1, priority: -1 }] }] },
    { routes: [{ serverNames: ['a'], backends: [], balance: 'best' }] },
    { routes: [{ serverNames: ['a'], backends: [], healthCheck: { kind: 'http' } }] },
    { routes: [{ serverNames: ['a'], backends: [], failover: { minHealthy: 0 } }] },
    { routes: [{ serverNames: ['a'], backends: [], egress: {} }] },
    { routes: [{ serverNames: ['a'], egress: { port: 0 } }] },
    { routes: [{ serverNames: ['a'], egress: {}, balance: 'random' }] },
    { routes: [{ serverNames: ['a'], egress: {}, healthCheck: {} }] },
    { routes: [{ serverNames: ['a'], egress: {}, onBackendDown: 'close' }] },
    { routes: [{ serverNames: ['a'], egress: {}, failover: { minHealthy: 2 } }] },
    { routes: [{ serverNames: ['a'], backends: [], healthCheck: { interval: 5 } }] },
    { routes: [{ serverNames: ['a'], backends: [], healthCheck: { rise: 0 } }] },
    { routes: [{ serverNames: ['a'], backends: [], balance: { label: 'shard' } }] },
    { routes: [{ serverNames: ['a'], backends: [{ address: 'b', port: 1, labels: { zone: 1 } }] }] },
    { routes: [{ serverNames: ['a'], backends: [{ address: 'b', port: 1, labels: ['a'] }] }] },
    { routes: [{ serverNames: ['a'], backends: [], connectTimeout: 2 }] },
    { routes: [{ serverNames: ['a'], backends: [{ address: 'b' }] }] },
    { routes: [{ serverNames: ['a'], backends: [], access: { allow: [] } }] },
    { routes: [{ serverNames: ['a'], backends: [], access: { alow: ['192.0.2.1'] } }] },
    { routes: [{ serverNames: ['a'], backends: [], access: { denyFile: '' } }] },
    { routes: [{ serverNames: ['a'], backends: [], limits: { connections: 0 } }] },
    { routes: [{ serverNames: ['a'], backends: [], limits: { rate: '10' } }] },
    { routes: [{ serverNames: ['a'], backends: [], limits: { rate: 10 } }] },
    { routes: [{ serverNames: ['a'], backends: [], limits: { maxAge: 'never' } }] },
    { routes: [{ serverNames: ['a'], backends: [], proxyProtocol: 'v3' }] },
    { routes: [{ serverNames: ['a'], backends: [{ address: 'b', port: 1, proxyProtocol: 1 }] }] },
    { routes: [{ serverNames: ['a'], backends: [], retryBeforeFirstByte: 1 }] },
    { routes: [{ serverNames: ['a'], backends: [], onBackendRemoved: 'cut' }] },
    { routes: [{ serverNames: ['a'], backends: [], onBackendDown: { after: '5m' } }] },
    { routes: [{ serverNames: ['a'], backends: [], onBackendDown: { grace: 5 } }] },
    { routes: [{ serverNames: ['a'], backends: [], limits: { perBackend: '1' } }] },
    { routes: [{ serverNames: ['a'], backends: [{ address: 'unix:/b', port: 1 }] }] },
    { routes: [{ serverNames: ['a'], backends: [{ address: 'b', port: 0 }] }] },
    { routes: [{ serverNames: ['a'], backends: [{ address: 'b', port: 1, wieght: 1 }] }] },
  ])('rejects what the parser rejects: %j', (value) => {
    expect(parseRouteFile(JSON.stringify(value), 'r.json').problems).not.toEqual([]);
    expect(matchesSchema(value)).toBe(false);
  });
});

/** The content of each block that is fenced with `language`. */
function blocks(language: string, page: string = PAGE): readonly string[] {
  return [...page.matchAll(/^```([^\n]*)\n([^]*?)^```$/gm)].flatMap(([, fence, text]) =>
    fence === language && text !== undefined ? [text] : [],
  );
}
