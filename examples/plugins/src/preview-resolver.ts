import { definePlugin } from '@meshgate/core';
import type { Resolver } from '@meshgate/core';

/** `NAME.preview.example.com` goes to port 8443 of the host NAME: no list of previews is needed. */
export const previewResolver: Resolver = {
  resolve({ serverName = '' }) {
    const [, name] = /^([a-z\d-]+)\.preview\.example\.com$/.exec(serverName) ?? [];
    if (name === undefined) return undefined;
    const backends = [{ address: { host: name, port: 8443 }, weight: 1, healthy: true }];
    return { name: 'preview', serverNames: ['*.preview.example.com'], backends };
  },
};

export default definePlugin({
  name: 'preview',
  parse: () => undefined,
  setup: (host) => host.addResolver(previewResolver),
});
