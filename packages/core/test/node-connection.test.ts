import { Socket } from 'node:net';
import { expect, it } from 'vitest';
import { NodeConnection } from '../src/transport/node-connection.ts';

it('an accepted socket whose client has already left is no connection, and its last error is ignored', () => {
  const socket = new Socket();
  expect(NodeConnection.accepted(socket, { host: '127.0.0.1', port: 1 }, { idleMs: 1_000 })).toBeUndefined();
  expect(socket.destroyed).toBe(true);
  expect(socket.emit('error', new Error('read ECONNRESET'))).toBe(true);
});
