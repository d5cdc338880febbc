import { rawClient, tlsBackend, tlsClient } from '@meshgate/testkit';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adminEndpoints, RouteChangeFeed } from '../src/admin/endpoints.ts';
import { openApiOf } from '../src/admin/openapi.ts';
import { gatewayFolder, startGateway } from './daemon.ts';
import type { Folder, ReadyDaemon } from './daemon.ts';

interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: object };
}

interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: 'path' | 'query'; readonly required: boolean }[];
  readonly responses: Readonly<Record<string, { readonly content: Readonly<Record<string, Media>> }>>;
}

interface Media {
  readonly schema: { readonly $ref?: string };
}

const DOCUMENT = openApiOf(
  adminEndpoints({ plugins: { adminPaths: new Map() }, routeChanges: new RouteChangeFeed() } as never),
) as Document;
const OPERATIONS = Object.entries(DOCUMENT.paths).flatMap(([path, methods]) =>
  Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
);

/** Requests for each operation that produce its responses; those that change something come last. */
const REQUESTS: Readonly<Record<string, readonly { readonly path: string; readonly status: number }[]>> = {
  'GET /': [{ path: '/', status: 200 }],
  'GET /live': [{ path: '/live', status: 200 }],
  'GET /ready': [{ path: '/ready', status: 200 }],
  'GET /metrics': [{ path: '/metrics', status: 200 }],
  'GET /routes': [{ path: '/routes', status: 200 }],
  'GET /explain': [
    { path: '/explain?serverName=api.example.com', status: 200 },
    { path: '/explain?serverName=api.example.com&listener=main', status: 200 },
    { path: '/explain?serverName=apl.example.com', status: 200 },
    { path: '/explain', status: 400 },
    { path: '/explain?serverName=10.0.0.1', status: 400 },
  ],
  'GET /connections': [
    { path: '/connections', status: 200 },
    { path: '/connections?client=127.0.0.0/8', status: 200 },
    { path: '/connections?client=nobody', status: 400 },
  ],
  'DELETE /connections/{id}': [{ path: '/connections/nobody', status: 404 }],
  'POST /connections/close': [
    { path: '/connections/close?route=nobody', status: 200 },
    { path: '/connections/close', status: 400 },
  ],
  'GET /listeners': [{ path: '/listeners', status: 200 }],
  'GET /drain': [{ path: '/drain', status: 200 }],
  'GET /status': [{ path: '/status', status: 200 }],
  'GET /events': [{ path: '/events', status: 200 }],
  'GET /log-level': [{ path: '/log-level', status: 200 }],
  'PUT /log-level': [
    { path: '/log-level?level=debug', status: 200 },
    { path: '/log-level?level=loud', status: 400 },
    { path: '/log-level', status: 400 },
  ],
  'GET /openapi.json': [{ path: '/openapi.json', status: 200 }],
  'GET /reload': [{ path: '/reload', status: 200 }],
  'POST /reload': [{ path: '/reload', status: 200 }],
  'POST /drain': [{ path: '/drain', status: 202 }],
  'POST /upgrade': [{ path: '/upgrade', status: 409 }],
};

/** Parameter values that a user may send by mistake, or an attacker on purpose. */
const HOSTILE_VALUES = [
  '',
  ' ',
  '0',
  '-1',
  '1e999',
  'NaN',
  '99999999999h',
  ',',
  '*',
  '..',
  '../../etc/passwd',
  '<script>alert(1)</script>',
  "' OR 1=1 --",
  '%',
  '%00',
  '\u0000',
  '\r\nSet-Cookie: a=b',
  '\u{1F4A5}',
  '\u202E',
  '__proto__',
  'x'.repeat(4_000),
];
/** Sent last, and once. */
const CHANGES_EVERYTHING: ReadonlySet<string> = new Set(['POST /drain', 'POST /upgrade']);

describe('the OpenAPI document', () => {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema(DOCUMENT, 'document');
  let files: Folder;
  let gateway: ReadyDaemon;
  const open: AsyncDisposable[] = [];
  const use = <T extends AsyncDisposable>(one: T): T => {
    open.unshift(one);
    return one;
  };
  beforeAll(async () => {
    const api = use(await tlsBackend('api.example.com'));
    files = use(await gatewayFolder([api]));
    gateway = use(await startGateway(`${files.path}/meshgate.yaml`));
    const client = use(await tlsClient(gateway.address, 'api.example.com'));
    await client.echo('hello');
    const silent = use(await rawClient(gateway.address));
    await silent.send(Uint8Array.of(0x16));
    while (!JSON.stringify((await gateway.query('/connections')).json).includes('sniffing'));
  });
  afterAll(async () => {
    for (const one of open) await one[Symbol.asyncDispose]();
  });

  it('is served, and matches the table of endpoints', async () => {
    expect((await gateway.query('/openapi.json')).json).toEqual(DOCUMENT);
  });

  it('refers only to existing schemas', () => {
    const references = JSON.stringify(DOCUMENT.paths).matchAll(/#\/components\/schemas\/(\w+)/g);
    for (const [, name = ''] of references) expect(DOCUMENT.components.schemas).toHaveProperty(name);
  });

  it('has a request in this test for every operation', () => {
    expect(Object.keys(REQUESTS).toSorted()).toEqual(OPERATIONS.toSorted());
  });

  /** Whether the document has this response, with this schema. */
  async function expectDocumented(response: Response, template: string, method: string): Promise<void> {
    const { responses } = DOCUMENT.paths[template]?.[method.toLowerCase()] ?? { responses: {} };
    const form = responses[response.status] ?? responses['default'];
    const [type = '', media] = Object.entries(form?.content ?? {})[0] ?? [];
    expect(response.headers.get('content-type')?.split(';')[0]).toBe(type);
    expect(response.status).toBeLessThan(500);
    if (media?.schema.$ref === undefined) return response.body?.cancel();
    const isValid = ajv.compile({ $ref: `document${media.schema.$ref}` });
    isValid(await response.json());
    expect(isValid.errors).toBeNull();
  }

  it.each(Object.keys(DOCUMENT.paths))(
    'is complete for %s: other methods are rejected, and named',
    async (template) => {
      const known = new Set(Object.keys(DOCUMENT.paths[template] ?? {}).map((method) => method.toUpperCase()));
      if (known.has('GET')) known.add('HEAD');
      const path = template.replaceAll(/\{\w+\}/g, 'x');
      for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
        if (known.has(method)) continue;
        const response = await fetch(new URL(path, gateway.admin), { method });
        expect([method, response.status]).toEqual([method, 405]);
        const allowed = response.headers.get('allow')?.split(', ') ?? [];
        expect(allowed.toSorted()).toEqual(Array.from(known).toSorted());
        await response.body?.cancel();
      }
    },
  );

  const parameters = Object.entries(DOCUMENT.paths).flatMap(([template, methods]) =>
    Object.entries(methods).flatMap(([method, operation]) =>
      (operation.parameters ?? []).map((parameter) => ({
        template,
        method: method.toUpperCase(),
        operation,
        ...parameter,
      })),
    ),
  );
  it.each(parameters)(
    'holds for $method $template with any $name',
    async ({ template, method, operation, name, ...one }) => {
      const others = (operation.parameters ?? []).filter((other) => other.required && other.name !== name);
      for (const value of HOSTILE_VALUES) {
        const inPath = one.in === 'path' ? encodeURIComponent(value) : 'x';
        const url = new URL(template.replaceAll(/\{\w+\}/g, inPath), gateway.admin);
        for (const other of others) if (other.in === 'query') url.searchParams.set(other.name, 'x');
        if (one.in === 'query') for (const twice of [value, value]) url.searchParams.append(name, twice);
        const response = await fetch(url, { method });
        // An empty or dot path segment makes a different path.
        if (one.in === 'path' && response.status === 404) await response.body?.cancel();
        else await expectDocumented(response, template, method);
      }
    },
  );

  it('holds for an unexpected body, and for an unknown query', async () => {
    for (const [template, methods] of Object.entries(DOCUMENT.paths))
      for (const method of Object.keys(methods).map((one) => one.toUpperCase())) {
        if (CHANGES_EVERYTHING.has(`${method} ${template}`)) continue;
        const path = template.replaceAll(/\{\w+\}/g, 'x');
        const body = method === 'GET' ? {} : { body: 'x'.repeat(100_000) };
        const response = await fetch(new URL(`${path}?unknown=%ff&__proto__=1`, gateway.admin), { method, ...body });
        await expectDocumented(response, template, method);
      }
    expect(await gateway.query('/ready')).toMatchObject({ status: 200 });
  });

  const requests = Object.entries(REQUESTS).flatMap(([operation, list]) =>
    list.map((request) => ({ operation, ...request })),
  );
  it.each(requests)('holds for $operation at $path: $status', async ({ operation, path, status }) => {
    const [method = '', template = ''] = operation.split(' ');
    const response = await fetch(new URL(path, gateway.admin), { method });
    expect(response.status).toBe(status);
    await expectDocumented(response, template, method);
  });

  it.each([
    ['GET', '/nope', 404],
    ['PUT', '/routes', 405],
  ])('holds for every refusal: %s %s', async (method, path, status) => {
    const response = await gateway.query(path, { method });
    const isValid = ajv.compile({ $ref: 'document#/components/schemas/Error' });
    expect([response.status, isValid(response.json)]).toEqual([status, true]);
  });
});
