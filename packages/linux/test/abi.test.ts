import { describe, expect, it } from 'vitest';
import { abiOf } from '../src/abi.ts';

describe('the binary interface', () => {
  it.each([
    ['x64', { epollEvent: { words: 3, dataWord: 1 } }],
    ['arm64', { epollEvent: { words: 4, dataWord: 2 } }],
  ])('is known for %s: epoll_event is packed on x86 only', (arch, abi) => {
    expect(abiOf('linux', arch)).toEqual(abi);
  });

  it.each([
    ['darwin', 'arm64'],
    ['win32', 'x64'],
    ['linux', 'riscv64'],
  ])('is not guessed for %s on %s', (platform, arch) => {
    expect(abiOf(platform, arch)).toBeUndefined();
  });
});
