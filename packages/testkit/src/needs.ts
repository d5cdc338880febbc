import { describe } from './runner.ts';

/** Declares a suite, as vitest's `describe` does. */
export type DeclareSuite = (name: string, suite: () => void) => void;

/**
 * Returns `describe` for a suite with a requirement that not every machine meets: a binary, a privilege, an operating
 * system. If it is missing, the tests are skipped, with the reason in the name.
 *
 * A machine that must meet it lists it in the environment variable `MESHGATE_TEST_REQUIRE`, separated by commas.
 *
 * @param capability the requirement in one word, as in that list
 * @param available `true`, or the reason why it is missing: lower case, no full stop
 * @throws Error if it is missing although the machine must meet it
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
