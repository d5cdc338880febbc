import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import type { Endpoint } from '@meshgate/core';
import { bind, LOOPBACK, unbind } from './bind.ts';
import { peer } from './peer.ts';
import type { Peer, PeerOptions } from './peer.ts';

/** A listener that passes each accepted connection to the test. Disposing of it closes these, too. */
export interface PeerListener extends AsyncDisposable {
  /** The address that it listens on. */
  readonly address: Endpoint;
  /** Resolves with the next connection, in order of arrival: a waiting one, or the next to arrive. */
  accept(): Promise<Peer>;
}

/** Settings of a {@link PeerListener}. */
export interface PeerListenerOptions extends PeerOptions {
  /** Any free port of 127.0.0.1 when absent. */
  readonly at?: Endpoint;
}

/** Listens, without TLS, for connections whose server side the test controls. */
export async function peerListener(options: PeerListenerOptions = {}): Promise<PeerListener> {
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  const accepted: Peer[] = [];
  const waiting: ((next: Peer) => void)[] = [];
  const unclaimed: Peer[] = [];
  server.on('connection', (socket: Socket) => {
    const next = peer(socket, options);
    accepted.push(next);
    const claim = waiting.shift();
    if (claim === undefined) unclaimed.push(next);
    else claim(next);
  });
  const address = await bind(server, options.at ?? LOOPBACK);
  return { address, accept, [Symbol.asyncDispose]: dispose };

  function accept(): Promise<Peer> {
    const next = unclaimed.shift();
    return next === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(next);
  }

  async function dispose(): Promise<void> {
    await Promise.all(accepted.map((each) => each[Symbol.asyncDispose]()));
    if (server.listening) await unbind(server);
  }
}
