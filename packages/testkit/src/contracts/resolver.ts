import { describe, expect, it } from 'vitest';
import type { Hello, Resolver, Route } from '@meshgate/core';
import { sampleAccepted, sampleHello } from '../event-samples.ts';
import { deepFrozen } from './freeze.ts';

/** A resolver in the hands of a contract suite. */
export interface ResolverUnderTest {
  readonly resolver: Resolver;
  /** A hello that it has a route for. */
  readonly known: Hello;
  /** A hello that it has none for, and leaves to the next resolver. */
  readonly unknown: Hello;
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
    it('finds the route of a hello that it knows, at once', async () => {
      const { resolver, known } = await harness.create();
      expect(resolver.resolve(known, sampleAccepted())).toMatchObject(ROUTE_SHAPE);
    });

    it('leaves a hello that it does not know to the next', async () => {
      const { resolver, unknown } = await harness.create();
      expect(resolver.resolve(unknown, sampleAccepted())).toBeUndefined();
    });

    it('gives equal answers to equal questions', async () => {
      const { resolver, known } = await harness.create();
      const names = Array.from(
        { length: 10 },
        (_, index) => resolver.resolve(known, sampleAccepted(`c${index}`))?.name,
      );
      expect(new Set(names).size).toBe(1);
    });

    it('changes nothing that it is shown', async () => {
      const { resolver, known, unknown } = await harness.create();
      for (const hello of [known, unknown]) resolver.resolve(deepFrozen(hello), deepFrozen(sampleAccepted()));
    });

    it.each(ODD_HELLOS)('answers $about with a route or undefined', async ({ hello }) => {
      const { resolver } = await harness.create();
      const route: Route | undefined = resolver.resolve(deepFrozen(hello), sampleAccepted());
      if (route !== undefined) expect(route).toMatchObject(ROUTE_SHAPE);
    });
  });
}

const ROUTE_SHAPE = {
  name: expect.any(String) as string,
  serverNames: expect.any(Array) as readonly string[],
  backends: expect.any(Array) as Route['backends'],
};

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
