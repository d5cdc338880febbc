import { nodeTransport } from '@meshgate/core';
import type { Transport } from '@meshgate/core';
import { epollTransport } from '@meshgate/epoll-transport';
import { uringTransport } from '@meshgate/uring-transport';
import { inject } from 'vitest';

/** A new transport of the kind of which the suite is claimed. */
export function transportUnderTest(): Transport {
  const transport = inject('transport');
  if (transport === 'uring') return uringTransport();
  return transport === 'epoll' ? epollTransport() : nodeTransport();
}
