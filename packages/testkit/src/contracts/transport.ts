import { describe, expect, it } from '../runner.ts';
import { claims } from './transport/claims.ts';
import type { CreateTransport, TransportTraits } from './transport/claims.ts';
import { describeConnections } from './transport/connecting.ts';
import { describeDialling } from './transport/dialling.ts';
import { describeListening } from './transport/listening.ts';
import { describeSplicing } from './transport/splicing.ts';

/**
 * Declares a suite that checks the contract of a transport, against Node sockets on loopback: the errors of listening
 * and dialling, and their cleanup; that connections deliver every byte in order, apply backpressure, and report how
 * they ended; that a splice carries both directions, each until its own end, passes resets on, counts exactly, ends
 * when idle, and can be cut at any moment; and all of that for many connections concurrently.
 *
 * @param create returns the transport: a new one for each test, or always the same
 */
export function describeTransport(name: string, create: CreateTransport, traits: TransportTraits = {}): void {
  describe(`${name}, as a transport,`, () => {
    it('has a name for the configuration', async () => {
      expect((await create()).name).toMatch(/^[a-z][a-z0-9-]*$/);
    });
    const claim = claims(create);
    describeListening(claim);
    describeDialling(claim);
    describeConnections(claim);
    describeSplicing(claim, traits);
  });
}
