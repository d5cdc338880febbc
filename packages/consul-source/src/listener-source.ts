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
  /** Used while the agent does not know the gateway: what it will be registered with. */
  readonly meanwhile?: readonly ListenAddress[];
}

/**
 * The listen addresses from the gateway's own registration, followed while running. A missing registration changes nothing: the last
 * known addresses stay, since the agent may only have lost it.
 */
export function listenerSource({ agent: options, id, meanwhile = [] }: ListenerSourceOptions): ListenerSource {
  let known = false;
  return { name: 'consul', watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<readonly ListenAddress[]> {
    const agent = openAgent(options, SOCKETS);
    const definitions = ownDefinition(agent, { id }, signal);
    try {
      let next = definitions.next();
      // Yielded once: it must not replace what the agent reported since.
      if (!known && meanwhile.length > 0 && !(await isRegistered(next, signal))) {
        known = true;
        yield meanwhile;
      }
      for (let own = await next; own.done !== true; own = await next) {
        if (own.value.kind === 'registered') {
          known = true;
          yield own.value.definition.listeners;
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
// A gateway should listen within a second of its start, whatever the agent does.
const PATIENCE_MS = 1_000;

/** Whether the agent soon reports the gateway as registered. Never rejects: the caller sees a failure when it awaits the response. */
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
