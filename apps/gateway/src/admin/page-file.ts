import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { AdminResponse } from './endpoint.ts';

/** Returns the built page, a single file that loads nothing else; 503 when the build does not have one. */
export async function pageResponse(): Promise<AdminResponse> {
  try {
    page ??= readPage();
    return await page;
  } catch (reason) {
    page = undefined;
    const why = reason instanceof Error ? reason.message : String(reason);
    return { status: 503, json: { error: `page not available: ${why}` } };
  }
}

let page: Promise<AdminResponse> | undefined;

/** Resolves to the built file from `src` as well as from `dist`. */
const FILE = new URL('../../dist/page.html', import.meta.url);

async function readPage(): Promise<AdminResponse> {
  const text = await readFile(FILE, 'utf8');
  return { status: 200, contentType: 'text/html; charset=utf-8', text, headers: headersOf(text) };
}

/**
 * Returns headers by which only the page's own script runs, connects only to its own server, and cannot turn strings
 * into HTML, even through a bug (Content Security Policy Level 3; Trusted Types).
 */
function headersOf(text: string): Readonly<Record<string, string>> {
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf(text, 'script')}`,
    `style-src ${hashOf(text, 'style')}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ];
  return {
    'content-security-policy': policy.join('; '),
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
  };
}

function hashOf(text: string, element: 'script' | 'style'): string {
  const start = text.indexOf(`<${element}>`) + element.length + 2;
  const content = text.slice(start, text.indexOf(`</${element}>`, start));
  return `'sha256-${createHash('sha256').update(content).digest('base64')}'`;
}
