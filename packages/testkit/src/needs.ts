import { describe } from './runner.ts';

/** Declares a suite, as vitest's `describe` does. */
export type DeclareSuite = (name: string, suite: () => void) => void;

/**
 * `describe` for a suite that requires something that not every machine has: a binary, a privilege, an operating
 * system. Where it is missing, the tests are skipped under a name that says why.
 *
 * A machine that must have it lists it in the environment variable `MESHGATE_TEST_REQUIRE`, separated by commas.
 *
 * @param capability the requirement, in one word, as it appears in that list
 * @param available `true`, or the reason why it is not: lower case, no full stop
 * @throws Error when it is missing although the machine must have it
 */
export function needs(capability: string, available: true | string): DeclareSuite {
  if (available === true) return describe;
  if (required().includes(capability))
    throw new Error(`expected ${capability}, which MESHGATE_TEST_REQUIRE names, found none: ${available}`);
  return (name, suite) => describe.skip(`${name} (needs ${capability}: ${available})`, suite);
}

function required(): readonly string[] {
  // oxlint-disable-next-line no-restricted-properties -- tests have no configuration but their environment
  return (process.env['MESHGATE_TEST_REQUIRE'] ?? '').split(',').map((name) => name.trim());
}
