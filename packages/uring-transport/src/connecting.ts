import type { Connecting } from '@meshgate/linux';
import type { Kernel } from './kernel.ts';
import { Socket } from './socket.ts';

/** One request connects; the first read follows it. */
export const CONNECTING: Connecting<Kernel, Socket> = {
  begin: (kernel, fd, address, owner) => {
    const socket = new Socket(kernel, fd, owner);
    socket.connect(address.bytes);
    return socket;
  },
};
