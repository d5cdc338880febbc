import { createProxy } from '@meshgate/core';
import type { Endpoint, Observer, Proxy, RouteSource } from '@meshgate/core';
import { sniSniffer } from '@meshgate/sni';

/** A proxy inside another program: its routes come from `source`, and it reports events to `observers`. */
export async function startProxy(
  listen: Endpoint,
  source: RouteSource,
  observers: readonly Observer[],
): Promise<Proxy> {
  const proxy = createProxy({ listen, sources: [source], sniffers: [sniSniffer()], observers });
  await proxy.start();
  return proxy;
}
