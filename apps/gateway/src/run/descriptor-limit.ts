import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * Returns the file descriptor limit of this process, whose soft limit Node raises to the hard limit; `undefined` when
 * it is not known.
 */
export function descriptorLimit(): number | undefined {
  try {
    const text =
      process.platform === 'linux'
        ? /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
        : execFileSync('/bin/sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim();
    if (text === 'unlimited') return Number.MAX_SAFE_INTEGER;
    return Number(text) > 0 ? Number(text) : undefined;
  } catch {
    return undefined;
  }
}

/** Loading the modules alone takes more than half of these descriptors. */
export const MIN_DESCRIPTORS = 256;
