import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import type { Endpoint } from '@meshgate/core';

/** A backend on loopback that does with each connection what the test says. */
export interface Backend extends Endpoint {
  readonly server: Server;
  /** The connections accepted so far, oldest first. */
  readonly sockets: readonly Socket[];
  /** The first connection, accepted already or to come. */
  first(): Promise<Socket>;
  close(): void;
}

/** @param serve owns the socket; its errors are swallowed, so that a reset is the test's to look for */
export async function backend(serve: (socket: Socket) => void): Promise<Backend> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('expected a port, found none');
  return { host: '127.0.0.1', port: address.port, server, sockets, first, close };

  async function first(): Promise<Socket> {
    const [known] = sockets;
    return known ?? ((await once(server, 'connection')) as [Socket])[0];
  }
  function close(): void {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

/** A port on loopback that refuses: it was bound a moment ago. */
export async function refusing(): Promise<Endpoint> {
  const { host, port, close, server } = await backend(() => undefined);
  close();
  await once(server, 'close');
  return { host, port };
}

/** Gives back what it receives; finishes when the client has. */
export function echo(socket: Socket): void {
  socket.pipe(socket);
}

/** A client's side of one TCP connection. */
export interface Client {
  readonly socket: Socket;
  /** Everything received until the peer finished or reset. */
  readonly received: Promise<Buffer>;
  /** How it ended: `end` when the peer finished first, otherwise the code of the error. */
  readonly ending: Promise<string>;
}

export function client({ host, port }: Endpoint): Client {
  const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const ending = new Promise<string>((resolve) => {
    socket.once('end', () => resolve('end'));
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.once('close', () => resolve('close'));
  });
  return { socket, ending, received: ending.then(() => Buffer.concat(chunks)) };
}
