import type { Backend, BalancedClient, Picker, PickerOptions } from '@meshgate/core';
import { sampleAccepted, sampleHello } from '../event-samples.ts';
import { describe, expect, it } from '../runner.ts';
import { deepFrozen } from './freeze.ts';

/**
 * Declares a suite that proves that a balance keeps its promises: it chooses, at once, one of the backends that it is given, whichever
 * they are and whoever the client is, and changes nothing that it is shown.
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

    it('chooses only among those that are left when some have failed', () => {
      const [all, { pick }] = [backends(10), create(IDLE)];
      for (let left = 10; left > 0; left -= 1) {
        const from = all.slice(0, left);
        expect(from).toContain(pick(from, client()));
        expect(all).toContain(pick(all, client()));
      }
    });

    it('goes on when every snapshot brings other backends', () => {
      const { pick } = create(IDLE);
      for (let snapshot = 0; snapshot < 50; snapshot += 1) {
        const from = backends(3, `10.1.${snapshot}`);
        expect(from).toContain(pick(from, client()));
      }
    });

    it('chooses one, however many connections the backends have', () => {
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

    it('changes nothing that it is shown', () => {
      const from = deepFrozen(backends(3));
      expect(from).toContain(create(IDLE).pick(from, deepFrozen(client())));
    });
  });
}

/** One half, as often as it is asked: a picker must not wait for the right number. */
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
  { about: 'a client of IPv6', odd: () => client('2001:db8::1') },
  { about: 'a client of IPv6 with a zone', odd: () => client('fe80::1%eth0') },
  { about: 'a client of IPv4 in IPv6', odd: () => client('::ffff:192.0.2.7') },
  { about: 'a client of a unix socket', odd: () => client('unix:/run/app.sock') },
  { about: 'a client whose address nobody knows', odd: () => client('') },
  { about: 'a hello without a name', odd: () => ({ ...client(), hello: { protocol: 'unknown' } }) },
  { about: 'the longest name', odd: () => ({ ...client(), hello: sampleHello('a.'.repeat(126) + 'a') }) },
];
