import type { PluginHandler } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { pluginEndpoints } from '../src/admin/plugin-paths.ts';
import type { AdminResponse } from '../src/admin/endpoint.ts';

/** The response to a client from a handler, which may be plain JavaScript. */
async function responseOf(handler: () => unknown): Promise<AdminResponse | undefined> {
  const [endpoint] = pluginEndpoints(new Map([['/plugins/mine/x', handler as PluginHandler]]));
  const { signal } = new AbortController();
  return endpoint?.respond({ query: new URLSearchParams(), parameters: {}, accept: undefined, signal });
}

const circular: Record<string, unknown> = {};
circular['self'] = circular;
const throwing = {
  get a(): never {
    throw new Error('broke');
  },
};

describe('the response of a plugin', () => {
  it.each([
    [{ json: { a: 1, gone: undefined, call: () => 1 } }, '{"a":1}\n'],
    [{ json: [1, 2] }, '[1,2]\n'],
    [{ contentType: 'text/plain', text: 'hello' }, 'hello'],
  ])('may be %j', async (response, text) => {
    expect(await responseOf(() => response)).toMatchObject({ status: 200, text });
  });

  it.each([
    ['circular', { json: circular }, 'Converting circular structure to JSON'],
    ['a number that JSON has not', { json: { big: 10n } }, 'BigInt'],
    ['a getter that throws', { json: throwing }, 'broke'],
    ['a header of two lines', { contentType: 'a\r\nb', text: '' }, 'expected a content type in one line of ASCII'],
    ['nothing', undefined, 'expected { json } or { contentType, text }'],
  ])('that is %s is an error that names its path', async (_what, response, error) => {
    const found = (await responseOf(() => response)) as { readonly json: { readonly error: string } };
    expect(found).toMatchObject({ status: 500 });
    expect(found.json.error).toMatch(/^\/plugins\/mine\/x: /);
    expect(found.json.error).toContain(error);
  });
});
