import type { ListenAddress, ListenerSource } from '@meshgate/core';
import { settlesWithin } from '@meshgate/core/parts';
import { openAgent } from './agent.ts';
import type { AgentOptions } from './agent.ts';
import { ownDefinition } from './own-definition.ts';

/** What {@link listenerSource} follows. */
export interface ListenerSourceOptions {
  readonly agent: AgentOptions;
  /** Service id; the one mesh gateway of the agent when absent. */
  readonly id?: string;
  /** Used as long as the agent cannot say: what the gateway is about to be registered with. */
  readonly meanwhile?: readonly ListenAddress[];
}

/**
 * The addresses that the gateway's own registration says to listen on, followed while running. A registration that is missing
 * changes nothing: the addresses known last stay, since the agent may only have lost it.
 */
export function listenerSource({ agent: options, id, meanwhile = [] }: ListenerSourceOptions): ListenerSource {
  let known = false;
  return { name: 'consul', watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<readonly ListenAddress[]> {
    const agent = openAgent(options, SOCKETS);
    const definitions = ownDefinition(agent, { id }, signal);
    try {
      let next = definitions.next();
      // Once: what the agent has said since is not to be replaced by it.
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
// A gateway should listen a second after it was started, whatever the agent does.
const PATIENCE_MS = 1_000;

/** Whether the agent says soon that the gateway is registered. Never rejects: a failure is seen by whoever awaits the answer. */
async function isRegistered(
  answer: Promise<IteratorResult<{ readonly kind: string }, unknown>>,
  signal: AbortSignal,
): Promise<boolean> {
  if (!(await settlesWithin(answer, PATIENCE_MS, signal))) return signal.aborted;
  return answer.then(
    (own) => own.done !== true && own.value.kind === 'registered',
    () => false,
  );
}
