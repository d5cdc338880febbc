import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';

/** Ports of loopback that nobody listens on at the moment: for addresses that are written down before anybody listens. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const probes = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(probes.map((probe) => once(probe, 'listening')));
  const ports = probes.map((probe) => (probe.address() as AddressInfo).port);
  const closed = probes.map((probe) => once(probe, 'close'));
  for (const probe of probes) probe.close();
  await Promise.all(closed);
  return ports;
}
