import { definePlugin } from '@meshgate/core';
import type { Plugin } from '@meshgate/core';
import { consulParts } from './gateway.ts';
import { optionsOf, parseSettings } from './options.ts';

/** `use: consul`: routes, listeners and registration of a mesh gateway from the local Consul agent. */
export const consulPlugin: Plugin = definePlugin({
  name: 'consul',
  parse: parseSettings,
  setup(host, settings) {
    const expiry = host.metrics.gauge({
      name: 'agent_certificate_expiry_timestamp_seconds',
      help: 'When the certificate expires that the agent shows, or that it is shown (Unix time), as of the last new connection',
      labels: ['certificate'],
    });
    const { routes, listeners, registration } = consulParts({
      ...optionsOf(settings, host.baseDir),
      onCertificate: (certificate, validUntil) => expiry.set(validUntil.getTime() / 1_000, { certificate }),
    });
    host.addSource(routes);
    host.addListenerSource(listeners);
    host.addService(registration);
  },
});
