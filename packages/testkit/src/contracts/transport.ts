import { describe, expect, it } from '../runner.ts';
import { claims } from './transport/claims.ts';
import type { CreateTransport, TransportTraits } from './transport/claims.ts';
import { describeConnections } from './transport/connecting.ts';
import { describeDialling } from './transport/dialling.ts';
import { describeListening } from './transport/listening.ts';
import { describeSplicing } from './transport/splicing.ts';

/**
 * Declares a suite that proves that a transport keeps its promises, with sockets of Node on loopback at the other ends: what
 * listening and dialling reject with and leave behind; that connections deliver every byte in order, make a fast sender wait,
 * and say how they ended; that a splice carries both directions, each to its own end, passes resets on, counts exactly, ends
 * when it is idle, and can be cut at any moment; and all of that for many connections at a time.
 *
 * @param create the transport: a new one for each test, or always the same
 */
export function describeTransport(name: string, create: CreateTransport, traits: TransportTraits = {}): void {
  describe(`${name}, as a transport,`, () => {
    it('has a name by which it can be chosen', async () => {
      expect((await create()).name).toMatch(/^[a-z][a-z0-9-]*$/);
    });
    const claim = claims(create);
    describeListening(claim);
    describeDialling(claim);
    describeConnections(claim);
    describeSplicing(claim, traits);
  });
}
