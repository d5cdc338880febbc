import { describe, expect, it } from '../runner.ts';
import type { Accepted, Hello, Resolver, Route } from '@meshgate/core';
import { sampleAccepted, sampleHello } from '../event-samples.ts';
import { deepFrozen } from './freeze.ts';

/** A resolver in the hands of a contract suite. */
export interface ResolverUnderTest {
  /** A new one. */
  readonly resolver: Resolver;
  /** A hello that it has a route for. */
  readonly known: Hello;
  /** A hello that it has none for, and leaves to the next resolver. */
  readonly unknown: Hello;
  /** The connection that asks; `sampleAccepted()` when absent. */
  readonly from?: Accepted;
  /** Called at the end of each test, when the resolver has something to stop. */
  dispose?(): Promise<void>;
}

/** How a contract suite gets at a resolver. */
export interface ResolverHarness {
  /** A new resolver for each test. */
  create(): ResolverUnderTest | Promise<ResolverUnderTest>;
}

/**
 * Declares a suite that proves that a resolver keeps its promises: it answers at once, with a route or `undefined`, gives equal
 * answers to equal questions, changes nothing that it is shown, and no name that a client may send makes it throw or leads
 * anywhere by accident.
 */
export function describeResolver(name: string, harness: ResolverHarness): void {
  describe(`${name}, as a resolver,`, () => {
    const claim = resolverClaims(harness);

    claim('finds the route of a hello that it knows, at once', ({ resolver, known, from = sampleAccepted() }) => {
      expect(resolver.resolve(known, from)).toMatchObject(routeShape());
    });

    claim('leaves a hello that it does not know to the next', ({ resolver, unknown, from = sampleAccepted() }) => {
      expect(resolver.resolve(unknown, from)).toBeUndefined();
    });

    claim('gives equal answers to equal questions', ({ resolver, known, from = sampleAccepted() }) => {
      const ids = ['c1', 'c2', 'c3'];
      expect(new Set(ids.map((id) => resolver.resolve(known, { ...from, id })?.name)).size).toBe(1);
    });

    claim('changes nothing that it is shown', ({ resolver, known, unknown, from = sampleAccepted() }) => {
      for (const hello of [known, unknown]) resolver.resolve(deepFrozen(hello), deepFrozen({ ...from }));
    });

    for (const { about, hello } of ODD_HELLOS) {
      claim(`answers ${about} with a route or undefined`, ({ resolver }) => {
        const route: Route | undefined = resolver.resolve(deepFrozen(hello), sampleAccepted());
        if (route !== undefined) expect(route).toMatchObject(routeShape());
      });
    }
  });
}

/** Declares tests that each get a resolver of their own. */
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

/** A function, since `expect` is there only where suites run. */
function routeShape(): object {
  return {
    name: expect.any(String) as string,
    serverNames: expect.any(Array) as readonly string[],
    backends: expect.any(Array) as Route['backends'],
  };
}

// The last are what a lookup in a plain object would find without anybody having put it there.
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
