import type * as Vitest from 'vitest';

// The suites need vitest. Everything else works without it: users of peers and hellos need not install it.
const vitest: Pick<typeof Vitest, 'describe' | 'it' | 'expect'> = await import('vitest').catch(() => ({
  describe: missing(),
  it: missing(),
  expect: missing(),
}));

/** `describe` of vitest. */
export const describe: typeof Vitest.describe = vitest.describe;
/** `it` of vitest. */
export const it: typeof Vitest.it = vitest.it;
/** `expect` of vitest. */
export const expect: typeof Vitest.expect = vitest.expect;

/** Fails when a suite is declared, and not before. */
function missing(): never {
  const refuse = (): never => {
    throw new Error('the suites of @meshgate/testkit need vitest: npm install --save-dev vitest');
  };
  return new Proxy(refuse, { get: refuse }) as never;
}
