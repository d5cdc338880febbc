import { selfTest } from '../../packages/epoll-transport/dist/index.js';
import { selfTest as uringTest } from '../../packages/uring-transport/dist/index.js';
import { needs } from '../../packages/testkit/dist/index.js';
import { describe, expect, it } from 'vitest';
import { soak } from '../soak/soak.mjs';

const epoll = await selfTest();
const uring = await uringTest();
const describeWithEpoll = needs('epoll', epoll.ok || epoll.reason);

/** @type {readonly { readonly name: string, readonly variant: { readonly transport: 'node' | 'epoll' | 'uring', readonly splice?: 'copy' | 'splice' }, readonly declare: import('@meshgate/testkit').DeclareSuite }[]} */
const VARIANTS = [
  { name: 'node', variant: { transport: 'node' }, declare: describe },
  { name: 'epoll, copy', variant: { transport: 'epoll', splice: 'copy' }, declare: describeWithEpoll },
  { name: 'epoll, splice', variant: { transport: 'epoll', splice: 'splice' }, declare: describeWithEpoll },
  { name: 'uring', variant: { transport: 'uring' }, declare: needs('uring', uring.ok || uring.reason) },
];

for (const { name, variant, declare } of VARIANTS) {
  declare(`many connections of every kind (${name})`, () => {
    it('lose no byte, even while backends are killed, and leave nothing behind', { timeout: 60_000 }, async () => {
      const { complaints, done, disturbed } = await soak({ ...variant, connections: 600, deaths: 2, seed: 'short' });
      expect(complaints).toEqual([]);
      expect(done).toBe(FIRST_ROUND + 600);
      expect(disturbed).toBeGreaterThan(0);
    });

    it('do so with too few file descriptors for all of them', { timeout: 60_000 }, async () => {
      const { complaints, starved, complete, after } = await soak({
        ...variant,
        connections: 300,
        descriptors: 56,
        seed: 'few',
      });
      expect(complaints).toEqual([]);
      expect(after.pauses).toBeGreaterThan(0);
      expect(Math.min(starved, complete)).toBeGreaterThan(0);
    });
  });
}

/** Warm-up before anything is counted. */
const FIRST_ROUND = 200;
