// For embedders.
export { selfTest } from './self-test.ts';
export type { SelfTest, SpliceMode } from '@meshgate/linux';
export { epollTransport } from './transport.ts';
export type { EpollOptions } from './options.ts';
