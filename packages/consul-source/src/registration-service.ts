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
  const { agent: agentOptions, body, onProblem, onLeave } = options;
  const agent = openAgent(agentOptions, SOCKETS);
  const leaving = new AbortController();
  let keeping: Promise<void> = Promise.resolve();
  return { name: 'consul-registration', start, drain, stop };

  async function start(signal: AbortSignal): Promise<void> {
    const patience = new AbortController();
    const giveUp = (): void => patience.abort();
    signal.addEventListener('abort', giveUp, { once: true });
    keeping = keep(giveUp);
    await pause(PATIENCE_MS, undefined, { signal: patience.signal }).catch(() => undefined);
    signal.removeEventListener('abort', giveUp);
  }

  /** @param tried called when the first attempt has ended, well or not */
  async function keep(tried: () => void): Promise<void> {
    for (let restMs = FIRST_REST_MS; !leaving.signal.aborted; restMs = Math.min(restMs * 2, LONGEST_REST_MS)) {
      try {
        await keepRegistered(() => {
          restMs = FIRST_REST_MS;
          onProblem(undefined);
          tried();
        });
      } catch (reason) {
        if (leaving.signal.aborted) return;
        onProblem(`the gateway may be missing in Consul: ${messageOf(reason)}`);
        tried();
        await pause(restMs * (1 - Math.random() / 2), undefined, { signal: leaving.signal }).catch(() => undefined);
      }
    }
  }

  async function keepRegistered(onKnown: () => void): Promise<void> {
    const { signal } = leaving;
    if (body !== undefined) await register(body, signal);
    await endOwnMaintenance(agent, await serviceId(signal), signal);
    for await (const own of ownDefinition(agent, await serviceId(signal), signal)) {
      if (own.kind === 'missing' && body !== undefined) await register(body, signal);
      else if (own.kind === 'missing') throw new Error('the agent does not know it any more');
      onKnown();
    }
  }

  async function register(registration: RegistrationBody, signal: AbortSignal): Promise<void> {
    await agent.ask({ method: 'PUT', path: 'agent/service/register', body: registration }, signal);
  }

  async function serviceId(signal: AbortSignal): Promise<string> {
    return body?.ID ?? options.id ?? (await onlyGateway(agent, signal));
  }

  async function drain(signal: AbortSignal): Promise<void> {
    const path = `agent/service/maintenance/${encodeURIComponent(await serviceId(signal))}`;
    const query = { enable: 'true', reason: MAINTENANCE_REASON };
    await agent.ask({ method: 'PUT', path, query, timeoutMs: FAREWELL_MS }, signal);
  }

  async function stop(signal: AbortSignal): Promise<void> {
    leaving.abort();
    onLeave();
    try {
      await keeping;
      if (body === undefined) return;
      const path = `agent/service/deregister/${encodeURIComponent(body.ID)}`;
      await agent.ask({ method: 'PUT', path, timeoutMs: FAREWELL_MS }, signal);
    } finally {
      await agent.close();
    }
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

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
