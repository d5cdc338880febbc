import type { Backend, BalancedClient, Picker, PickerOptions } from '@meshgate/core';
import { sampleAccepted, sampleHello } from '../event-samples.ts';
import { describe, expect, it } from '../runner.ts';
import { deepFrozen } from './freeze.ts';

/**
 * Declares a suite that checks the contract of a balance: it synchronously chooses one of the given backends, for any
 * backends and any client, and modifies none of its arguments.
 *
 * @param create a new picker for each test
 */
export function describeBalance(name: string, create: (options: PickerOptions) => Picker): void {
  describe(`${name}, as a balance,`, () => {
    it('chooses the only backend', () => {
      const [from, { pick }] = [backends(1), create(IDLE)];
      expect(pick(from, client())).toBe(from[0]);
    });

    it.each([2, 3, 100, 5_000])('chooses one of %d backends', (count) => {
      const [from, { pick }] = [backends(count), create(IDLE)];
      for (let turn = 0; turn < 20; turn += 1) expect(from).toContain(pick(from, client(`10.0.0.${turn}`)));
    });

    it('chooses only among the remaining backends when some have failed', () => {
      const [all, { pick }] = [backends(10), create(IDLE)];
      for (let remaining = 10; remaining > 0; remaining -= 1) {
        const from = all.slice(0, remaining);
        expect(from).toContain(pick(from, client()));
        expect(all).toContain(pick(all, client()));
      }
    });

    it('keeps working when every snapshot has other backends', () => {
      const { pick } = create(IDLE);
      for (let snapshot = 0; snapshot < 50; snapshot += 1) {
        const from = backends(3, `10.1.${snapshot}`);
        expect(from).toContain(pick(from, client()));
      }
    });

    it("chooses one, whatever the backends' connection counts", () => {
      const loads = [0, 1, 1_000_000];
      for (const load of loads) {
        const [from, { pick }] = [backends(4), create({ ...IDLE, load: () => load })];
        expect(from).toContain(pick(from, client()));
      }
    });

    for (const { about, odd } of ODD_CLIENTS) {
      it(`chooses one for ${about}`, () => {
        const [from, { pick }] = [backends(3), create(IDLE)];
        expect(from).toContain(pick(from, odd()));
      });
    }

    it('modifies none of its arguments', () => {
      const from = deepFrozen(backends(3));
      expect(from).toContain(create(IDLE).pick(from, deepFrozen(client())));
    });
  });
}

/** Always 0.5: a picker must not loop until it gets a suitable number. */
const IDLE: PickerOptions = { load: () => 0, random: () => 0.5 };

function backends(count: number, network = '10.0.0'): readonly Backend[] {
  return Array.from({ length: count }, (_, index) => ({
    address: { host: `${network}.${index % 250}`, port: 1_000 + index },
    weight: 1 + (index % 3),
    healthy: true,
    ...(index % 2 === 0 && { labels: { zone: 'a' } }),
  }));
}

function client(host = '192.0.2.7'): BalancedClient {
  return { connection: { ...sampleAccepted(), remote: { host, port: 50_000 } }, hello: sampleHello() };
}

const ODD_CLIENTS: readonly { readonly about: string; readonly odd: () => BalancedClient }[] = [
  { about: 'an IPv6 client', odd: () => client('2001:db8::1') },
  { about: 'an IPv6 client with a zone', odd: () => client('fe80::1%eth0') },
  { about: 'an IPv4-mapped client', odd: () => client('::ffff:192.0.2.7') },
  { about: 'a client on a unix socket', odd: () => client('unix:/run/app.sock') },
  { about: 'a client with an unknown address', odd: () => client('') },
  { about: 'a hello without a name', odd: () => ({ ...client(), hello: { protocol: 'unknown' } }) },
  { about: 'the longest name', odd: () => ({ ...client(), hello: sampleHello('a.'.repeat(126) + 'a') }) },
];
