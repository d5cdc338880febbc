import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import type { Limits } from '@meshgate/core';
import type { LimitSettings } from '../config/config-schema.ts';

/** What the machine lets this process have. */
export interface Machine {
  /** File descriptors. */
  readonly descriptors: number;
  readonly memoryBytes: number;
}

/** Replaces every `auto` by what `machine` can bear. Pure. */
export function limitsFor(settings: LimitSettings, machine: Machine): Limits {
  const connections = settings.connections === 'auto' ? bearable(machine) : settings.connections;
  const pendingHellos =
    settings.pendingHellos === 'auto'
      ? Math.max(MIN_PENDING_HELLOS, Math.floor(connections * PENDING_SHARE))
      : settings.pendingHellos;
  return { ...settings, connections, pendingHellos: Math.min(connections, pendingHellos) };
}

/** Asks the operating system. Where it does not tell, the defaults of small machines are assumed. */
export function thisMachine(): Machine {
  // Node raises its own soft limit to the hard one when it starts.
  const [constrained, total] = [process.constrainedMemory(), totalmem()];
  const memoryBytes = constrained > 0 && constrained < total ? constrained : total;
  return { descriptors: descriptorLimit() ?? ASSUMED_DESCRIPTORS, memoryBytes };
}

/** One towards the client, one towards the backend. */
const DESCRIPTORS_PER_CONNECTION = 2;
/** For files, the admin server, route sources and name lookups: a Consul source alone may hold 64 connections. */
const RESERVED_DESCRIPTORS = 128;
/** An idle connection needs a quarter of this, a busy one several times as much: its buffers, in the kernel and here. */
const BYTES_PER_CONNECTION = 64 * 1024;
/** The other half is for routes, and for whoever else is on the machine. */
const MEMORY_SHARE = 0.5;
const MIN_CONNECTIONS = 64;
/** A connection owes its hello for a round trip or two, so that a tenth of all carries far more than a tenth of the traffic. */
const PENDING_SHARE = 0.1;
const MIN_PENDING_HELLOS = 32;
/** The soft limit of most systems. */
const ASSUMED_DESCRIPTORS = 1024;

function bearable({ descriptors, memoryBytes }: Machine): number {
  const byDescriptors = (descriptors - RESERVED_DESCRIPTORS) / DESCRIPTORS_PER_CONNECTION;
  const byMemory = (memoryBytes * MEMORY_SHARE) / BYTES_PER_CONNECTION;
  return Math.max(MIN_CONNECTIONS, Math.floor(Math.min(byDescriptors, byMemory)));
}

function descriptorLimit(): number | undefined {
  try {
    const text =
      process.platform === 'linux'
        ? /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
        : execFileSync('/bin/sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim();
    return text === 'unlimited' ? Number.MAX_SAFE_INTEGER : positive(Number(text));
  } catch {
    return undefined;
  }
}

function positive(value: number): number | undefined {
  return value > 0 ? value : undefined;
}
