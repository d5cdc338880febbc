import { formatSpiffeId } from '@meshgate/mesh';
import type { Caller } from '@meshgate/mesh';

/** An instance of `service` in datacenter `dc1`, as its certificate identifies it. */
export function caller(trustDomain: string, service: string): Caller {
  const location = { trustDomain, partition: 'default', namespace: 'default', datacenter: 'dc1' };
  const source = { kind: 'service', ...location, service } as const;
  return { uri: formatSpiffeId(source), serialNumber: '0a:1b', source };
}
