import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';

/** Free ports on loopback, for addresses that are configured before anything listens on them. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const probes = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(probes.map((probe) => once(probe, 'listening')));
  const ports = probes.map((probe) => (probe.address() as AddressInfo).port);
  const closed = probes.map((probe) => once(probe, 'close'));
  for (const probe of probes) probe.close();
  await Promise.all(closed);
  return ports;
}
