import { afterEach, describe, expect, it, vi } from 'vitest';
import { needs } from '../src/index.ts';

describe('a suite with a requirement', () => {
  afterEach(() => vi.unstubAllEnvs());

  it('is an ordinary suite where it is there', () => {
    expect(needs('moon', true)).toBe(describe);
  });

  it('fails where it is required and missing, and reports why', () => {
    vi.stubEnv('MESHGATE_TEST_REQUIRE', 'sun, moon');
    expect(() => needs('moon', 'new moon')).toThrow(/moon, which MESHGATE_TEST_REQUIRE names, found none: new moon/);
  });

  it('does not fail for other requirements', () => {
    vi.stubEnv('MESHGATE_TEST_REQUIRE', 'sun');
    expect(() => needs('moon', 'new moon')).not.toThrow();
  });
});
