import { nodeTransport } from '@meshgate/core';
import type { Transport } from '@meshgate/core';
import { epollTransport } from '@meshgate/epoll-transport';
import { uringTransport } from '@meshgate/uring-transport';
import { inject } from 'vitest';

/** A new transport of the kind under test. */
export function transportUnderTest(): Transport {
  return openTransport(inject('transport'));
}

/** The ways in which it carries bulk data, each with its name and a new transport. */
export function variantsUnderTest(): readonly (readonly [string, () => Transport])[] {
  const name = inject('transport');
  if (name === 'node') return [[name, nodeTransport]];
  return (['copy', 'splice'] as const).map((splice) => [`${name}, ${splice}`, () => openTransport(name, splice)]);
}

function openTransport(name: 'node' | 'epoll' | 'uring', splice: 'copy' | 'splice' = 'splice'): Transport {
  if (name === 'uring') return uringTransport({ splice });
  return name === 'epoll' ? epollTransport({ splice }) : nodeTransport();
}
