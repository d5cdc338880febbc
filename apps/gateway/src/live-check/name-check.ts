import { isIP } from 'node:net';
import { unixPath } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { ResolutionError, systemNames } from '@meshgate/core/parts';
import type { NameSystem } from '@meshgate/core/parts';
import { counted } from '../log/messages.ts';
import type { Finding } from './finding.ts';

/** Resolves every name among `addresses` once. */
export async function checkNames(
  addresses: Iterable<Endpoint>,
  system: NameSystem = systemNames(),
): Promise<readonly Finding[]> {
  const names = namesIn(addresses);
  const failures: Finding[] = [];
  const waiting = [...names];
  const over = performance.now() + DEADLINE_MS;
  await Promise.all(Array.from({ length: AT_ONCE }, resolveInTurn));
  if (names.size === 0) return [];
  const resolved = names.size - failures.length - waiting.length;
  const found = `${resolved} of ${counted(names.size, 'name')} resolve`;
  const advice =
    waiting.length === 0 ? {} : { advice: `${waiting.length} were not checked within ${DEADLINE_MS / 1_000} s` };
  const sum: Finding = {
    check: 'backend names',
    outcome: waiting.length === 0 ? 'ok' : 'warning',
    found,
    ...advice,
  };
  return [sum, ...failures];

  async function resolveInTurn(): Promise<void> {
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      const failure = await failureOf(name);
      if (failure !== undefined) failures.push(failure);
      if (performance.now() > over) return;
    }
  }

  async function failureOf(name: string): Promise<Finding | undefined> {
    try {
      await system.resolve(name);
      return undefined;
    } catch (reason) {
      const isAbsent = reason instanceof ResolutionError && reason.kind === 'absent';
      return {
        check: `name ${name}`,
        outcome: 'failed',
        found: reason instanceof Error ? reason.message : String(reason),
        advice: isAbsent
          ? 'correct the name, or add it to the hosts file or DNS'
          : 'check /etc/resolv.conf and its name servers',
      };
    }
  }
}

/** Enough for responsive name servers, few enough not to overload slow ones. */
const AT_ONCE = 32;
/** Limit for the whole check, since one lookup takes up to ten seconds. */
const DEADLINE_MS = 10_000;

function namesIn(addresses: Iterable<Endpoint>): ReadonlySet<string> {
  const names = new Set<string>();
  for (const address of addresses)
    if (unixPath(address) === undefined && isIP(address.host.replace(/^\[|\]$/g, '')) === 0) names.add(address.host);
  return names;
}
