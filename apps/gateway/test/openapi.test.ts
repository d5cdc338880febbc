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

/** Requests of each operation that bring about its answers; those that change something are made last. */
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
    await client.say('hello');
    const silent = use(await rawClient(gateway.address));
    await silent.send(Uint8Array.of(0x16));
    while (!JSON.stringify((await gateway.ask('/connections')).json).includes('sniffing'));
  });
  afterAll(async () => {
    for (const one of open) await one[Symbol.asyncDispose]();
  });

  it('is served, and is that of the table of endpoints', async () => {
    expect((await gateway.ask('/openapi.json')).json).toEqual(DOCUMENT);
  });

  it('refers only to schemas that it has', () => {
    const references = JSON.stringify(DOCUMENT.paths).matchAll(/#\/components\/schemas\/(\w+)/g);
    for (const [, name = ''] of references) expect(DOCUMENT.components.schemas).toHaveProperty(name);
  });

  it('has a request in this test for every operation', () => {
    expect(Object.keys(REQUESTS).toSorted()).toEqual(OPERATIONS.toSorted());
  });

  const requests = Object.entries(REQUESTS).flatMap(([operation, list]) =>
    list.map((request) => ({ operation, ...request })),
  );
  it.each(requests)('holds for $operation at $path: $status', async ({ operation, path, status }) => {
    const [method = '', template = ''] = operation.split(' ');
    const response = await fetch(new URL(path, gateway.admin), { method });
    expect(response.status).toBe(status);
    const form = DOCUMENT.paths[template]?.[method.toLowerCase()]?.responses[status];
    const [type = '', media] = Object.entries(form?.content ?? {})[0] ?? [];
    expect(response.headers.get('content-type')?.split(';')[0]).toBe(type);
    if (media?.schema.$ref === undefined) return response.body?.cancel();
    const isValid = ajv.compile({ $ref: `document${media.schema.$ref}` });
    isValid(await response.json());
    expect(isValid.errors).toBeNull();
  });

  it.each([
    ['GET', '/nope', 404],
    ['PUT', '/routes', 405],
  ])('holds for what it says of every refusal: %s %s', async (method, path, status) => {
    const response = await gateway.ask(path, { method });
    const isValid = ajv.compile({ $ref: 'document#/components/schemas/Error' });
    expect([response.status, isValid(response.json)]).toEqual([status, true]);
  });
});
