import { nodeTransport } from '@meshgate/core';
import type { Transport } from '@meshgate/core';
import type { SpliceMode } from '@meshgate/epoll-transport';

/** A transport that may not work on this machine. */
export interface TransportCandidate {
  readonly name: string;
  /** Loads the transport and runs its self-test. Rejects with the reason why it cannot be used on this machine. */
  open(): Promise<Transport>;
}

/** The built-in transports, in the order in which `auto` tries them; the last one works everywhere. */
export function builtInTransports(splice: SpliceMode): readonly TransportCandidate[] {
  return [
    { name: 'uring', open: () => openUring(splice) },
    { name: 'epoll', open: () => openEpoll(splice) },
    { name: 'node', open: () => Promise.resolve(nodeTransport()) },
  ];
}

/** Imports the package on demand: `transport: node` never loads it. */
async function openEpoll(splice: SpliceMode): Promise<Transport> {
  const { epollTransport, selfTest } = await import('@meshgate/epoll-transport');
  const tested = await selfTest({ splice });
  if (!tested.ok) throw new Error(tested.reason);
  return epollTransport({ splice });
}

async function openUring(splice: SpliceMode): Promise<Transport> {
  const { selfTest, uringTransport } = await import('@meshgate/uring-transport');
  const tested = await selfTest({ splice });
  if (!tested.ok) throw new Error(tested.reason);
  return uringTransport({ splice });
}

/** The chosen transport, or why there is none. */
export type TransportChoice = ChosenTransport | { readonly kind: 'none'; readonly reason: string };

/** A transport that works on this machine. */
export interface ChosenTransport {
  readonly kind: 'chosen';
  readonly transport: Transport;
  /** The transports that `auto` would have preferred, with the reasons why they are unavailable: one log line each. */
  readonly declined: readonly Declined[];
}

interface Declined {
  readonly name: string;
  readonly reason: string;
}

/**
 * Chooses a transport. `auto` tries only the built-in ones.
 *
 * @param wanted `auto`, or a name
 * @param offered transports of plugins, used only when named
 */
export async function chooseTransport(
  wanted: string,
  offered: readonly Transport[],
  builtIn: readonly TransportCandidate[],
): Promise<TransportChoice> {
  const ready = offered.map((transport) => ({ name: transport.name, open: () => Promise.resolve(transport) }));
  const known = [...builtIn, ...ready];
  const candidates = wanted === 'auto' ? builtIn : known.filter(({ name }) => name === wanted);
  const declined: Declined[] = [];
  for (const { name, open } of candidates) {
    try {
      return { kind: 'chosen', transport: await open(), declined };
    } catch (reason) {
      declined.push({ name, reason: reason instanceof Error ? reason.message : String(reason) });
    }
  }
  if (declined.length > 0) return { kind: 'none', reason: declined.map(unusable).join('; ') };
  const names = ['auto', ...known.map(({ name }) => name)].join(', ');
  return { kind: 'none', reason: `expected one of ${names}, found ${JSON.stringify(wanted)}` };
}

function unusable({ name, reason }: Declined): string {
  return `the transport ${name} cannot be used here: ${reason}`;
}
