import type { PluginHandler } from '@meshgate/core';
import { settledWithin } from '../config/settled-within.ts';
import { printableJson } from '../log/printable.ts';
import { JSON_TYPE } from './endpoint.ts';
import type { AdminResponse, AdminEndpoint } from './endpoint.ts';

/** Returns the admin paths of plugins. A failure becomes an error response, and affects nothing else. */
export function pluginEndpoints(handlers: ReadonlyMap<string, PluginHandler>): readonly AdminEndpoint[] {
  return Array.from(handlers, ([path, respond]) => ({
    method: 'GET',
    path,
    summary: 'Added by a plugin',
    responses: {
      200: { description: "the plugin's response, of any type", contentType: '*/*' },
      500: { description: 'the plugin failed', schema: 'Error' },
    },
    respond: ({ query }) => answered(path, () => respond({ query })),
  }));
}

async function answered(path: string, respond: () => unknown): Promise<AdminResponse> {
  try {
    return responseOf(await settledWithin(RESPONSE_PATIENCE_MS, async () => respond(), 'it did not respond in time'));
  } catch (reason) {
    return { status: 500, json: { error: `${path}: ${reason instanceof Error ? reason.message : String(reason)}` } };
  }
}

function responseOf(response: unknown): AdminResponse {
  const { status = 200, json, contentType, text } = Object(response) as Loose;
  if (Number.isInteger(status) && status >= 200 && status <= 599) {
    // Not as a stream: what cannot be JSON must be known before the first byte.
    if (typeof json === 'object' && json !== null)
      return { status, contentType: JSON_TYPE, text: `${printableJson(JSON.stringify(json))}\n` };
    if (typeof contentType === 'string' && typeof text === 'string')
      return { status, contentType: headerValue(contentType), text };
  }
  throw new TypeError('expected { json } or { contentType, text }, and a status from 200 to 599, found something else');
}

function headerValue(contentType: string): string {
  if (/^[\t\u0020-\u007e]+$/.test(contentType)) return contentType;
  throw new TypeError(`expected a content type in one line of ASCII, found ${JSON.stringify(contentType)}`);
}

interface Loose {
  readonly status?: number;
  readonly json?: unknown;
  readonly contentType?: unknown;
  readonly text?: unknown;
}

/** Longer than an operator waits, shorter than the timeout of a scraper or a browser. */
const RESPONSE_PATIENCE_MS = 10_000;
