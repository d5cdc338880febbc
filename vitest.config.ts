import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: [
      '{packages,apps,examples}/*/test/**/*.test.ts',
      'examples/*/*.test.ts',
      'scripts/**/*.test.ts',
      'bench/test/**/*.test.mjs',
    ],
    pool: 'forks',
    // A test that needs longer is waiting for something that will not come.
    testTimeout: 15_000,
    hookTimeout: 30_000,
  },
});
