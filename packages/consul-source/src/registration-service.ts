import { setTimeout as pause } from 'node:timers/promises';
import type { Service } from '@meshgate/core';
import { openAgent, parsed } from './agent.ts';
import type { Agent, AgentOptions } from './agent.ts';
import { object, objects, text } from './json.ts';
import { onlyGateway, ownDefinition } from './own-definition.ts';
import type { RegistrationBody } from './registration.ts';

/** What {@link registrationService} keeps up. */
export interface RegistrationServiceOptions {
  readonly agent: AgentOptions;
  /** What to register, and to take back at the end. Absent: somebody else has registered the gateway and takes it back. */
  readonly body?: RegistrationBody;
  /** Service id, where somebody else has registered the gateway; the one mesh gateway of the agent when absent. */
  readonly id?: string;
  /** Told what keeps the agent from knowing the gateway; `undefined` when nothing does. */
  readonly onProblem: (problem: string | undefined) => void;
  /** Told that the gateway goes by itself, before it does. */
  readonly onLeave: () => void;
}

/**
 * Keeps the gateway registered with its agent: registers at the start, again whenever the agent has lost it, puts it into
 * maintenance at the beginning of a drain so that nobody sends more, and takes the registration back at the end.
 *
 * An agent that is away never keeps the gateway from starting or from leaving.
 */
export function registrationService(options: RegistrationServiceOptions): Service {
  return new Registration(options);
}

class Registration implements Service {
  readonly name = 'consul-registration';
  readonly #options: RegistrationServiceOptions;
  readonly #agent: Agent;
  readonly #leaving = new AbortController();
  #keeping: Promise<void> = Promise.resolve();

  constructor(options: RegistrationServiceOptions) {
    this.#options = options;
    this.#agent = openAgent(options.agent, SOCKETS);
  }

  async start(signal: AbortSignal): Promise<void> {
    const patience = new AbortController();
    const giveUp = (): void => patience.abort();
    signal.addEventListener('abort', giveUp, { once: true });
    this.#keeping = this.#keep(giveUp);
    await pause(PATIENCE_MS, undefined, { signal: patience.signal }).catch(() => undefined);
    signal.removeEventListener('abort', giveUp);
    if (!signal.aborted) return;
    await this.#end();
    throw signal.reason;
  }

  async drain(signal: AbortSignal): Promise<void> {
    const path = `agent/service/maintenance/${encodeURIComponent(await this.#serviceId(signal))}`;
    const query = { enable: 'true', reason: MAINTENANCE_REASON };
    await this.#agent.ask({ method: 'PUT', path, query, timeoutMs: FAREWELL_MS }, signal);
  }

  async stop(signal: AbortSignal): Promise<void> {
    const { body, onLeave } = this.#options;
    this.#leaving.abort();
    onLeave();
    try {
      await this.#keeping;
      if (body === undefined) return;
      const path = `agent/service/deregister/${encodeURIComponent(body.ID)}`;
      await this.#agent.ask({ method: 'PUT', path, timeoutMs: FAREWELL_MS }, signal);
    } finally {
      await this.#end();
    }
  }

  async #end(): Promise<void> {
    this.#leaving.abort();
    await this.#agent.close();
    await this.#keeping;
  }

  /** @param tried called when the first attempt has ended, well or not */
  async #keep(tried: () => void): Promise<void> {
    const { signal } = this.#leaving;
    const { onProblem } = this.#options;
    let restMs = FIRST_REST_MS;
    const onKnown = (): void => {
      restMs = FIRST_REST_MS;
      onProblem(undefined);
      tried();
    };
    while (!signal.aborted) {
      try {
        await this.#keepRegistered(onKnown, signal);
      } catch (reason) {
        if (signal.aborted) return;
        onProblem(`the gateway may be missing in Consul: ${reason instanceof Error ? reason.message : String(reason)}`);
        tried();
        await pause(restMs * (1 - Math.random() / 2), undefined, { signal }).catch(() => undefined);
        restMs = Math.min(restMs * 2, LONGEST_REST_MS);
      }
    }
  }

  async #keepRegistered(onKnown: () => void, signal: AbortSignal): Promise<void> {
    await this.#register(signal);
    const id = await this.#serviceId(signal);
    await endOwnMaintenance(this.#agent, id, signal);
    for await (const own of ownDefinition(this.#agent, id, signal)) {
      if (own.kind === 'missing') await this.#register(signal);
      onKnown();
      if (own.kind === 'missing' && this.#options.body === undefined)
        this.#options.onProblem(`the agent does not know the gateway ${id} any more`);
    }
  }

  async #register(signal: AbortSignal): Promise<void> {
    const { body } = this.#options;
    if (body !== undefined) await this.#agent.ask({ method: 'PUT', path: 'agent/service/register', body }, signal);
  }

  async #serviceId(signal: AbortSignal): Promise<string> {
    const { body, id } = this.#options;
    return body?.ID ?? id ?? (await onlyGateway(this.#agent, signal));
  }
}

const SOCKETS = 2;
// A gateway should route a second after it was started, whatever the agent does.
const PATIENCE_MS = 1_000;
const FIRST_REST_MS = 250;
const LONGEST_REST_MS = 30_000;
// The check fails soon after by itself; nobody should wait longer for an agent to hear the farewell.
const FAREWELL_MS = 3_000;
/** Tells our own maintenance, which a restart ends, from one that an operator has ordered, which it does not. */
const MAINTENANCE_REASON = 'meshgate is draining';

/** A gateway that was stopped in the middle of a drain finds itself in maintenance when it comes back. */
async function endOwnMaintenance(agent: Agent, id: string, signal: AbortSignal): Promise<void> {
  const path = 'agent/checks';
  const checks = parsed(await agent.ask({ path }, signal), path, 'checks by id', object);
  const ours = objects(Object.values(checks)).some(
    (check) => text(check['CheckID']) === `_service_maintenance:${id}` && text(check['Notes']) === MAINTENANCE_REASON,
  );
  if (!ours) return;
  const maintenance = `agent/service/maintenance/${encodeURIComponent(id)}`;
  await agent.ask({ method: 'PUT', path: maintenance, query: { enable: 'false' } }, signal);
}
