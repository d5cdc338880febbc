import { Handshakes, PipePool, Sockets } from '@meshgate/linux';
import type { Libc, Memory, TurnLoop } from '@meshgate/linux';
import { Loop } from './loop.ts';
import type { EpollSettings } from './options.ts';

/** State shared by all parts of one transport: system calls, loop, scratch memory. */
export class EpollKernel {
  readonly libc: Libc;
  readonly sockets: Sockets;
  readonly loop: Loop;
  readonly turns: TurnLoop;
  readonly settings: EpollSettings;
  readonly pipes: PipePool;
  readonly handshakes: Handshakes = new Handshakes();
  /** Target of every recv(2); must be emptied before the next one. */
  readonly buffer: Memory;

  constructor(libc: Libc, settings: EpollSettings) {
    this.libc = libc;
    this.sockets = new Sockets(libc);
    this.settings = settings;
    this.pipes = new PipePool(libc, settings.pipeBytes);
    // When nothing is open any more, cached resources are released too.
    this.loop = new Loop(libc, () => this.pipes.drain());
    this.turns = this.loop.turns;
    this.buffer = libc.allocate(settings.bufferBytes);
  }
}
