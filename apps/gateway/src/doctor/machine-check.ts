import { release } from 'node:os';
import { DEFAULT_LIMITS } from '@meshgate/core';
import type { Machine } from '../run/machine.ts';
import { limitsFor } from '../run/machine.ts';
import type { TransportChoice } from '../run/transport-choice.ts';
import type { Finding } from '../live-check/finding.ts';

/** A lower limit of connections is likely to be reached. */
const FEW_CONNECTIONS = 4_096;

/** Checks the limits of the machine. Pure. */
export function machineFindings(machine: Machine, choice: TransportChoice): readonly Finding[] {
  return [connectionsFinding(machine), transportFinding(choice)];
}

function connectionsFinding({ descriptors, memoryBytes, processors }: Machine): Finding {
  const auto = { ...DEFAULT_LIMITS, connections: 'auto', pendingHellos: 'auto' } as const;
  const { connections } = limitsFor(auto, { descriptors, memoryBytes });
  const mebibytes = Math.floor(memoryBytes / 2 ** 20);
  const has = `${descriptors} descriptors, ${mebibytes} MiB, ${processors} processors: ${connections} connections`;
  if (connections >= FEW_CONNECTIONS) return { check: 'machine', outcome: 'ok', found: has };
  const byDescriptors = limitsFor(auto, { descriptors: Infinity, memoryBytes }).connections > connections;
  const advice = byDescriptors
    ? 'raise the file descriptor limit: LimitNOFILE of the unit, or ulimit -n'
    : 'give it more memory, or set limits.connections';
  return { check: 'machine', outcome: 'warning', found: has, advice };
}

function transportFinding(choice: TransportChoice): Finding {
  const check = `transport on ${process.platform} ${release()}`;
  if (choice.kind === 'none')
    return { check, outcome: 'failed', found: choice.reason, advice: 'set transport: auto in the configuration' };
  const { transport, declined } = choice;
  if (declined.length === 0) return { check, outcome: 'ok', found: transport.name };
  const why = declined.map(({ name, reason }) => `${name} cannot be used: ${reason}`).join('; ');
  return { check, outcome: 'ok', found: `${transport.name} (${why})` };
}
