import { definePlugin } from '@meshgate/core';
import type { Observer } from '@meshgate/core';

const TLS_1_3 = 0x0304;

/** Counts clients that do not offer TLS 1.3, by listener: a metric, and one log line each. */
export default definePlugin({
  name: 'old-tls',
  parse: () => undefined,
  setup(host) {
    const count = host.metrics.counter({
      name: 'clients_total',
      help: 'Clients without TLS 1.3',
      labels: ['listener'],
    });
    const observer: Observer = {
      name: 'old-tls',
      observe(event) {
        if (event.type !== 'connection.sniffed') return;
        const { hello, connection } = event;
        if (hello.protocol !== 'tls' || hello.supportedVersions?.includes(TLS_1_3) === true) return;
        count.add(1, { listener: connection.listener });
        host.log.info('client without TLS 1.3', { remote: connection.remote.host });
      },
    };
    host.addObserver(observer);
  },
});
