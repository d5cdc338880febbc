import { it } from '../../runner.ts';
import type { Transport } from '@meshgate/core';
import { Wiring } from './wiring.ts';

/** Declares a test with a wired transport, and closes everything at its end. */
export type TransportClaim = (name: string, body: (wiring: Wiring) => Promise<void>, unless?: boolean) => void;

/** How a contract suite creates a transport: a new one for each test, or always the same. */
export type CreateTransport = () => Transport | Promise<Transport>;

/** Deviations of a transport from the default contract. */
export interface TransportTraits {
  /** `false`: its splices never hand a client back, whatever `handBackUntilMs` is; `true` when absent. */
  readonly handsBack?: boolean;
}

export function claims(create: CreateTransport): TransportClaim {
  return (name, body, unless = false) => {
    it.skipIf(unless)(name, { timeout: TEST_TIMEOUT_MS }, async () => {
      await using wiring = new Wiring(await create());
      await body(wiring);
    });
  };
}

// Megabytes through a slow reader on a busy machine: most tests need a hundredth of it.
const TEST_TIMEOUT_MS = 30_000;
