import { AF_UNIX, EINPROGRESS, systemError } from '@meshgate/linux';
import type { SocketFactory } from '@meshgate/linux';
import type { EpollKernel } from './kernel.ts';
import { EpollSocket } from './socket.ts';

/** Connects; the kernel reports the outcome as an event, immediately at registration if it is already known. */
export const CONNECTING: SocketFactory<EpollKernel, EpollSocket> = {
  begin: (kernel, fd, address, owner) => {
    const tcp = address.family !== AF_UNIX;
    // Saves one packet per connection, see `Handshakes`.
    if (tcp) kernel.sockets.setQuickAck(fd, 0);
    const errno = kernel.sockets.connect(fd, address) === -1 ? kernel.libc.errno() : 0;
    if (errno !== 0 && errno !== EINPROGRESS) {
      kernel.libc.close(fd);
      throw systemError(errno, 'connect');
    }
    const socket = new EpollSocket(kernel, fd, address.family, owner);
    if (tcp) socket.delayAcknowledgement();
    return socket;
  },
  connected: (kernel, socket) => kernel.handshakes.add(socket),
};
