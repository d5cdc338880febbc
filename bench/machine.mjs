// The machine of a run.
import { readFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os';

/**
 * @typedef {object} Machine
 * @property {string} cpu
 * @property {number} cores
 * @property {number} memoryGib
 * @property {string} system
 * @property {string} kernel
 * @property {string} node
 */

/** @returns {Machine} */
export function machine() {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    system: `${distribution()} (${platform()} ${arch()})`,
    kernel: release(),
    node: process.version,
  };
}

/**
 * @param {Machine} machine
 * @returns {string} a file name: the same for machines with the same CPU and number of cores
 */
export function machineSlug({ cpu, cores }) {
  return `${cpu} ${cores} cores`.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
}

function distribution() {
  try {
    return /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown system';
  } catch {
    return 'unknown system';
  }
}
