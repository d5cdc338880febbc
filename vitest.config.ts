import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** Suites that send traffic through whole proxies: what they claim is claimed of every transport. */
const THROUGH_PROXIES = [
  'apps/gateway/test/{admin,drain,exit-status,gateway,state-dir}.test.ts',
  'packages/core-test/test/{before-the-first-byte,many-connections,max-age,pipeline,real-clients,soak,splice,stalled-peers}.test.ts',
];

/** What is claimed of the transports made of system calls of Linux. */
const OF_LINUX = 'packages/core-test/test/linux/*.test.ts';

const EVERYTHING = [
  '{packages,apps,examples}/*/test/**/*.test.ts',
  'examples/*/*.test.ts',
  'scripts/**/*.test.ts',
  'bench/test/**/*.test.mjs',
];

export default defineConfig({
  test: {
    pool: 'forks',
    // Most tests wait for other processes: also where there are two processors, two files run at a time.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // Tests take seconds. One that needs longer, also beside other work on the machine, waits for what will not come.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: { name: 'node', include: EVERYTHING, exclude: [OF_LINUX], provide: { transport: 'node' } },
      },
      {
        extends: true,
        test: {
          name: 'epoll',
          include: [...THROUGH_PROXIES, OF_LINUX],
          provide: { transport: 'epoll' },
          setupFiles: ['packages/epoll-transport/test/unless-epoll.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'uring',
          include: [...THROUGH_PROXIES, OF_LINUX],
          provide: { transport: 'uring' },
          setupFiles: ['packages/uring-transport/test/unless-uring.ts'],
        },
      },
    ],
  },
});

declare module 'vitest' {
  interface ProvidedContext {
    /** The transport through which suites send their traffic that claim the same of every transport. */
    transport: 'node' | 'epoll' | 'uring';
  }
}
