import { Handshakes, PipePool, Sockets } from '@meshgate/linux';
import type { Libc, Memory, TurnLoop } from '@meshgate/linux';
import { Loop } from './loop.ts';
import type { EpollSettings } from './options.ts';

/** What all parts of one transport share: the system calls, the loop, the memory in which small things are handed over. */
export class EpollKernel {
  readonly libc: Libc;
  readonly sockets: Sockets;
  readonly loop: Loop;
  readonly turns: TurnLoop;
  readonly settings: EpollSettings;
  readonly pipes: PipePool;
  readonly handshakes: Handshakes = new Handshakes();
  /** Where every recv(2) receives; to be emptied before anything else is received. */
  readonly buffer: Memory;

  constructor(libc: Libc, settings: EpollSettings) {
    this.libc = libc;
    this.sockets = new Sockets(libc);
    this.settings = settings;
    this.pipes = new PipePool(libc, settings.pipeBytes);
    // Nothing is open any more: what was kept for the next is given back, too.
    this.loop = new Loop(libc, () => this.pipes.drain());
    this.turns = this.loop.turns;
    this.buffer = libc.allocate(settings.bufferBytes);
  }
}
