import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import type { Limits } from '@meshgate/core';
import type { LimitSettings } from '../config/config-schema.ts';
import { cgroupLimits } from './cgroup.ts';
import { descriptorLimit } from './descriptor-limit.ts';

/** The resources that the machine grants this process. */
export interface Machine {
  /** Limit of file descriptors. */
  readonly descriptors: number;
  readonly memoryBytes: number;
  /** Usable processors: an integer, 1 or more. */
  readonly processors: number;
}

/** Replaces every `auto` by the highest value that `machine` can sustain. Pure. */
export function limitsFor(settings: LimitSettings, machine: Pick<Machine, 'descriptors' | 'memoryBytes'>): Limits {
  const connections = settings.connections === 'auto' ? bearable(machine) : settings.connections;
  const pendingHellos =
    settings.pendingHellos === 'auto'
      ? Math.max(MIN_PENDING_HELLOS, Math.floor(connections * PENDING_SHARE))
      : settings.pendingHellos;
  return { ...settings, connections, pendingHellos: Math.min(connections, pendingHellos) };
}

/**
 * Replaces the contents of `settings`, an object that other parts read from, with `next`. Removes keys that are no
 * longer set.
 */
export function replaceSettings<Settings extends object>(settings: Settings, next: Settings): void {
  for (const key of Object.keys(settings)) if (!(key in next)) Reflect.deleteProperty(settings, key);
  Object.assign(settings, next);
}

/** Queries the operating system. Unknown values default to those of a small machine. */
export function thisMachine(): Machine {
  const { cpus = Infinity, memoryBytes = Infinity } = cgroupLimits(textOf);
  const constrained = process.constrainedMemory();
  return {
    descriptors: descriptorLimit() ?? ASSUMED_DESCRIPTORS,
    memoryBytes: Math.min(memoryBytes, constrained > 0 ? constrained : Infinity, totalmem()),
    // Rounds one and a half processors up to two.
    processors: Math.max(1, Math.min(availableParallelism(), Math.ceil(cpus))),
  };
}

/** One to the client, one to the backend. */
const DESCRIPTORS_PER_CONNECTION = 2;
/** For files, the admin server, route sources and DNS: a Consul source alone may hold 64 connections. */
const RESERVED_DESCRIPTORS = 128;
/**
 * An idle connection needs a quarter of this, a busy one several times as much, for its buffers in the kernel and in
 * user space.
 */
const BYTES_PER_CONNECTION = 64 * 1024;
/** The other half is for routes and other processes. */
const MEMORY_SHARE = 0.5;
const MIN_CONNECTIONS = 64;
/**
 * A handshake is pending for one or two round trips, so that a tenth of all connections carries far more than a tenth
 * of the traffic.
 */
const PENDING_SHARE = 0.1;
const MIN_PENDING_HELLOS = 32;
/** The soft limit of most systems. */
const ASSUMED_DESCRIPTORS = 1024;

function bearable({ descriptors, memoryBytes }: Pick<Machine, 'descriptors' | 'memoryBytes'>): number {
  const byDescriptors = (descriptors - RESERVED_DESCRIPTORS) / DESCRIPTORS_PER_CONNECTION;
  const byMemory = (memoryBytes * MEMORY_SHARE) / BYTES_PER_CONNECTION;
  return Math.max(MIN_CONNECTIONS, Math.floor(Math.min(byDescriptors, byMemory)));
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
