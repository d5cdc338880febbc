import { createProxy } from '@meshgate/core';
import type { Proxy, ProxyOptions } from '@meshgate/core';
import { prometheusObserver } from '@meshgate/metrics';
import { sniSniffer } from '@meshgate/sni';
import type { Registry } from 'prom-client';

/** One of several proxies in a program: everything that it counts in `registry` has its name as a label. */
export async function startCountedProxy(
  name: string,
  registry: Registry,
  options: Pick<ProxyOptions, 'listen' | 'routes'>,
): Promise<Proxy> {
  const metrics = prometheusObserver({ registry, labels: { proxy: name } });
  // When it has stopped, another proxy may have the name.
  const counted = { name: 'metrics', start: async () => {}, stop: async () => metrics.close() };
  const proxy = createProxy({ ...options, sniffers: [sniSniffer()], observers: [metrics], services: [counted] });
  await proxy.start();
  return proxy;
}
