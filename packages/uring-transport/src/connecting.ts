import type { SocketFactory } from '@meshgate/linux';
import type { UringKernel } from './kernel.ts';
import { UringSocket } from './socket.ts';

/** Connects with one request; the first read follows it. */
export const CONNECTING: SocketFactory<UringKernel, UringSocket> = {
  begin: (kernel, fd, address, owner) => {
    const socket = new UringSocket(kernel, fd, owner);
    socket.connect(address.bytes);
    return socket;
  },
};
