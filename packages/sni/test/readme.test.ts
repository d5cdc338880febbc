import { readFile } from 'node:fs/promises';
import { clientHello, inRecords } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { serverNameOf } from './example.ts';

describe('the example of the README', () => {
  it('is the one that runs here', async () => {
    const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
    const example = await readFile(new URL('example.ts', import.meta.url), 'utf8');
    expect(/```ts\n([^]*?)```/.exec(readme)?.[1]).toBe(example);
  });

  it('finds the name in a hello that arrives in pieces', async () => {
    const bytes = inRecords(clientHello({ serverName: 'web.example.com' }), 17);
    await expect(serverNameOf(chunks(bytes, 100))).resolves.toBe('web.example.com');
  });

  it('throws for bytes that are not a hello', async () => {
    await expect(serverNameOf(chunks(Buffer.from('GET / HTTP/1.1'), 5))).rejects.toThrow(/^not_tls: expected/);
  });
});

async function* chunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += size) yield Promise.resolve(bytes.subarray(at, at + size));
}
