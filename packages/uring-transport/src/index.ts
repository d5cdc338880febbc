// For embedders.
export { selfTest } from './self-test.ts';
export type { SelfTest, SpliceMode } from '@meshgate/linux';
export { uringTransport } from './transport.ts';
export type { UringOptions } from './options.ts';
