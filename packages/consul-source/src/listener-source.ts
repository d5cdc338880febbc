import type { ListenAddress, ListenerSource } from '@meshgate/core';
import { settlesWithin } from '@meshgate/core/parts';
import { openAgent } from './agent.ts';
import type { AgentOptions } from './agent.ts';
import { ownDefinition } from './own-definition.ts';
import type { OwnDefinition } from './own-definition.ts';

/** Options of {@link listenerSource}. */
export interface ListenerSourceOptions {
  readonly agent: AgentOptions;
  /** Service id; the only mesh gateway of the agent when absent. */
  readonly id?: string;
  /** See `OwnQuery`. */
  readonly node?: string;
  /** Of a gateway that registers itself. */
  readonly registered?: {
    /** Registrations of other processes are ignored, see `instanceMark`. */
    readonly mark: string;
    /** Addresses for the time until the agent knows the gateway: those with which it will be registered. */
    readonly meanwhile: readonly ListenAddress[];
  };
}

/**
 * Follows the listen addresses in the gateway's own registration. When the registration is missing the last addresses
 * remain, since the agent may have lost it. They also remain when another process has registered the same id: a gateway
 * never leaves its addresses for those of another.
 */
export function listenerSource({ agent: options, registered, ...own }: ListenerSourceOptions): ListenerSource {
  let known = false;
  return { name: 'consul', watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<readonly ListenAddress[]> {
    const agent = openAgent(options, SOCKETS);
    const definitions = ownListeners(ownDefinition(agent, { id: own.id, ...own }, signal), registered?.mark);
    try {
      let next = definitions.next();
      // Yielded once at most, so that it never replaces addresses that the agent has reported.
      if (!known && registered !== undefined && !(await isKnown(next, signal))) {
        known = true;
        yield registered.meanwhile;
      }
      for (let found = await next; found.done !== true; found = await next) {
        if (found.value !== undefined) {
          known = true;
          yield found.value;
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

/** Yields the listen addresses of the gateway; `undefined` while it is not registered by the process with the mark. */
async function* ownListeners(
  definitions: AsyncIterable<OwnDefinition>,
  mark: string | undefined,
): AsyncGenerator<readonly ListenAddress[] | undefined> {
  for await (const own of definitions)
    yield own.kind === 'registered' && [undefined, own.mark].includes(mark) ? own.definition.listeners : undefined;
}

const SOCKETS = 1;
// A gateway must listen within a second of its start, even without a response from the agent.
const PATIENCE_MS = 1_000;

/**
 * Whether the agent reports the gateway's addresses within {@link PATIENCE_MS}. Never rejects; the caller awaits the
 * same response and sees its failure.
 */
async function isKnown(response: Promise<IteratorResult<unknown>>, signal: AbortSignal): Promise<boolean> {
  if (!(await settlesWithin(response, PATIENCE_MS, signal))) return signal.aborted;
  return response.then(
    (own) => own.done !== true && own.value !== undefined,
    () => false,
  );
}
