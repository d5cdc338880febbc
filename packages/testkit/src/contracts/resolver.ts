import { describe, expect, it } from '../runner.ts';
import type { Accepted, Hello, Resolver, Route } from '@meshgate/core';
import { sampleAccepted, sampleHello } from '../event-samples.ts';
import { deepFrozen } from './freeze.ts';

/** A resolver under test. */
export interface ResolverUnderTest {
  /** A new resolver. */
  readonly resolver: Resolver;
  /** A hello that it has a route for. */
  readonly known: Hello;
  /** A hello that it leaves to the next resolver. */
  readonly unknown: Hello;
  /** The connection; `sampleAccepted()` when absent. */
  readonly from?: Accepted;
  /** Called at the end of each test. Needed if the resolver has something to stop. */
  dispose?(): Promise<void>;
}

/** How a contract suite creates a resolver. */
export interface ResolverHarness {
  /** Creates a resolver for each test. */
  create(): ResolverUnderTest | Promise<ResolverUnderTest>;
}

/**
 * Declares a suite that checks the contract of a resolver: it synchronously returns a route or `undefined`, returns
 * equal results for equal input, modifies none of its arguments, and no name from a client makes it throw or match by
 * accident.
 */
export function describeResolver(name: string, harness: ResolverHarness): void {
  describe(`${name}, as a resolver,`, () => {
    const claim = resolverClaims(harness);

    claim('returns the route of a known hello, synchronously', ({ resolver, known, from = sampleAccepted() }) => {
      expect(resolver.resolve(known, from)).toMatchObject(routeShape());
    });

    claim('leaves an unknown hello to the next resolver', ({ resolver, unknown, from = sampleAccepted() }) => {
      expect(resolver.resolve(unknown, from)).toBeUndefined();
    });

    claim('returns equal results for equal input', ({ resolver, known, from = sampleAccepted() }) => {
      const ids = ['c1', 'c2', 'c3'];
      expect(new Set(ids.map((id) => resolver.resolve(known, { ...from, id })?.name)).size).toBe(1);
    });

    claim('modifies none of its arguments', ({ resolver, known, unknown, from = sampleAccepted() }) => {
      for (const hello of [known, unknown]) resolver.resolve(deepFrozen(hello), deepFrozen({ ...from }));
    });

    for (const { about, hello } of ODD_HELLOS) {
      claim(`returns a route or undefined for ${about}`, ({ resolver }) => {
        const route: Route | undefined = resolver.resolve(deepFrozen(hello), sampleAccepted());
        if (route !== undefined) expect(route).toMatchObject(routeShape());
      });
    }
  });
}

/** Declares tests, each with its own resolver. */
function resolverClaims(harness: ResolverHarness): (name: string, body: (given: ResolverUnderTest) => void) => void {
  return (name, body) => {
    it(name, async () => {
      const given = await harness.create();
      try {
        body(given);
      } finally {
        await given.dispose?.();
      }
    });
  };
}

/** A function, since `expect` only exists while suites run. */
function routeShape(): object {
  return {
    name: expect.any(String) as string,
    serverNames: expect.any(Array) as readonly string[],
    backends: expect.any(Array) as Route['backends'],
  };
}

// Every plain object inherits properties with the last names.
const ODD_HELLOS: readonly { readonly about: string; readonly hello: Hello }[] = [
  {
    about: 'a hello without a name',
    hello: { protocol: 'tls', alpn: [], supportedVersions: [], ech: false, earlyData: false },
  },
  { about: 'another protocol', hello: { ...sampleHello(), protocol: 'something else' } },
  { about: 'the longest name', hello: sampleHello(`${'a'.repeat(61)}.`.repeat(4).slice(0, 253)) },
  { about: 'a name of one label', hello: sampleHello('localhost') },
  { about: 'an address in place of a name', hello: sampleHello('192.0.2.1') },
  ...['__proto__', 'constructor', 'tostring', 'hasownproperty'].map((serverName) => ({
    about: `the name '${serverName}'`,
    hello: sampleHello(serverName),
  })),
];
