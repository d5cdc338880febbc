import type { ListenAddress, ListenerSource } from '@meshgate/core';
import { settlesWithin } from '@meshgate/core/parts';
import { openAgent } from './agent.ts';
import type { AgentOptions } from './agent.ts';
import { ownDefinition } from './own-definition.ts';

/** Options of {@link listenerSource}. */
export interface ListenerSourceOptions {
  readonly agent: AgentOptions;
  /** Service id; the only mesh gateway of the agent when absent. */
  readonly id?: string;
  /** See `OwnQuery`. */
  readonly node?: string;
  /** Addresses for the time until the agent knows the gateway: those with which it will be registered. */
  readonly meanwhile?: readonly ListenAddress[];
}

/**
 * Follows the listen addresses in the gateway's own registration. When the registration is missing the last addresses
 * remain, since the agent may have lost it.
 */
export function listenerSource({ agent: options, meanwhile = [], ...own }: ListenerSourceOptions): ListenerSource {
  let known = false;
  return { name: 'consul', watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<readonly ListenAddress[]> {
    const agent = openAgent(options, SOCKETS);
    const definitions = ownDefinition(agent, { id: own.id, ...own }, signal);
    try {
      let next = definitions.next();
      // Yielded once at most, so that it never replaces addresses that the agent has reported.
      if (!known && meanwhile.length > 0 && !(await isRegistered(next, signal))) {
        known = true;
        yield meanwhile;
      }
      for (let found = await next; found.done !== true; found = await next) {
        if (found.value.kind === 'registered') {
          known = true;
          yield found.value.definition.listeners;
        }
        next = definitions.next();
      }
    } catch (reason) {
      if (!signal.aborted) throw reason;
    } finally {
      await agent.close();
    }
  }
}

const SOCKETS = 1;
// A gateway must listen within a second of its start, even without a response from the agent.
const PATIENCE_MS = 1_000;

/**
 * Whether the agent reports the gateway as registered within {@link PATIENCE_MS}. Never rejects; the caller awaits the
 * same response and sees its failure.
 */
async function isRegistered(
  response: Promise<IteratorResult<{ readonly kind: string }, unknown>>,
  signal: AbortSignal,
): Promise<boolean> {
  if (!(await settlesWithin(response, PATIENCE_MS, signal))) return signal.aborted;
  return response.then(
    (own) => own.done !== true && own.value.kind === 'registered',
    () => false,
  );
}
