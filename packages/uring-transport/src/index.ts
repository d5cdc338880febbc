// For embedders.
export { selfTest } from './self-test.ts';
export type { SelfTest } from '@meshgate/linux';
export { uringTransport } from './transport.ts';
export type { UringOptions } from './options.ts';
