// Accepts clients that send a secret line before their ClientHello.
import { definePlugin, fact, ProxyError } from '@meshgate/core';
import type { ConnectionFilter } from '@meshgate/core';

/** In the access log: `facts: { "knock.line": … }`. A resolver or an observer reads it with `KNOCK.of(connection)`. */
export const KNOCK = fact<string>('knock.line', (line) => line);

export function knock(secret: string): ConnectionFilter {
  const expected = Buffer.from(`${secret}\n`);
  return {
    name: 'knock',
    async filter(client) {
      const bytes = await client.peek(expected.length);
      if (!expected.equals(bytes.subarray(0, expected.length)))
        throw new ProxyError('REFUSED_BY_POLICY', 'knock: expected the secret line, found something else');
      client.consume(expected.length);
      await client.write(Buffer.from('OK\n'));
      client.set(KNOCK, 'yes');
      return undefined;
    },
  };
}

export default definePlugin({
  name: 'knock',
  parse: (config) => String((config as { readonly secret: unknown }).secret),
  setup: (host, secret) => host.addFilter(knock(secret)),
});
