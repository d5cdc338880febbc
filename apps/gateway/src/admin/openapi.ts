import * as z from 'zod';
import { VERSION } from '../cli/version.ts';
import { RESPONSES } from './response-schemas.ts';
import type { AdminEndpoint, ResponseForm } from './endpoint.ts';

/** Returns the OpenAPI document (version 3.1) of `endpoints`. Pure. */
export function openApiOf(endpoints: readonly AdminEndpoint[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const endpoint of endpoints) {
    const operations = (paths[endpoint.path] ??= {});
    operations[endpoint.method.toLowerCase()] = operationOf(endpoint);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Meshgate admin API',
      version: VERSION,
      description: 'Inspect and operate a running gateway. Every GET endpoint also serves HEAD.',
    },
    paths,
    components: {
      schemas: Object.fromEntries(Object.entries(RESPONSES).map(([name, schema]) => [name, schemaOf(schema)])),
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'the token in admin.tokenFile, where that is set' },
      },
    },
  };
}

function operationOf({ method, path, summary, query = [], responses }: AdminEndpoint): object {
  const inPath = Array.from(path.matchAll(/\{(\w+)\}/g), ([, name = '']) => parameter(name, 'path', true));
  const inQuery = query.map(({ name, description, required = false }) => ({
    ...parameter(name, 'query', required),
    description,
  }));
  const forms = method === 'GET' ? responses : { ...REFUSALS, ...responses };
  return {
    operationId: `${method} ${path}`,
    summary,
    ...(inPath.length + inQuery.length > 0 && { parameters: [...inPath, ...inQuery] }),
    ...(method !== 'GET' && { security: [{}, { token: [] }] }),
    responses: {
      ...Object.fromEntries(Object.entries(forms).map(([status, form]) => [status, responseOf(form)])),
      default: responseOf({ description: 'refused, or failed', schema: 'Error' }),
    },
  };
}

/** Responses of every endpoint that changes something. */
const REFUSALS: Readonly<Record<number, ResponseForm>> = {
  401: { description: 'missing token, or not the one in admin.tokenFile', schema: 'Error' },
  403: { description: 'a web page of another origin, or a client beyond loopback without a token', schema: 'Error' },
};

function parameter(name: string, where: 'path' | 'query', required: boolean): object {
  return { name, in: where, required, schema: { type: 'string' } };
}

function responseOf(form: ResponseForm): object {
  const [contentType, media] =
    'schema' in form
      ? ['application/json', { schema: { $ref: `#/components/schemas/${form.schema}` } }]
      : [form.contentType, { schema: { type: 'string' } }];
  return { description: form.description, content: { [contentType]: media } };
}

/** Drops `$schema`, because OpenAPI 3.1 defines the JSON Schema dialect. */
function schemaOf(schema: z.ZodType): object {
  const { $schema: _sameForAll, ...rest } = z.toJSONSchema(schema);
  return rest;
}
