import { definePlugin } from '@meshgate/core';
import type { Plugin } from '@meshgate/core';
import { agentCertificates, rootExpiry } from './certificate-metrics.ts';
import { consulParts } from './gateway.ts';
import { optionsOf, parseSettings } from './options.ts';

/** `use: consul`: routes, listeners and registration of a mesh gateway from the local Consul agent. */
export const consulPlugin: Plugin = definePlugin({
  name: 'consul',
  parse: parseSettings,
  setup(host, settings) {
    const { routes, listeners, registration } = consulParts({
      ...optionsOf(settings, host.baseDir),
      ...agentCertificates(host.metrics),
      onRoots: rootExpiry(host.metrics),
    });
    host.addSource(routes);
    host.addListenerSource(listeners);
    host.addService(registration);
  },
});
