// For embedders.
export { selfTest } from './self-test.ts';
export type { SelfTest } from '@meshgate/linux';
export { epollTransport } from './transport.ts';
export type { EpollOptions, SpliceMode } from './options.ts';
