import { randomUUID } from 'node:crypto';
import type { Service } from '@meshgate/core';
import { pause } from '@meshgate/core';
import { Cell, follow, openScope } from '@meshgate/core/parts';
import { AgentError, openAgent, parsed } from './agent.ts';
import type { Agent, AgentOptions } from './agent.ts';
import { object, objects, text } from './json.ts';
import { instanceMark, lineageOf, markOf, NotAGateway, onlyGateway, ownDefinition } from './own-definition.ts';
import type { OwnDefinition } from './own-definition.ts';
import type { RegistrationBody } from './registration.ts';

/** Options of {@link registrationService}. */
export interface RegistrationServiceOptions {
  readonly agent: AgentOptions;
  /** What to register, and deregister at the end. Absent: the gateway is registered by somebody else, who also deregisters it. */
  readonly body?: RegistrationBody;
  /** Service id of a gateway registered by somebody else; the only mesh gateway of the agent when absent. */
  readonly id?: string;
  /** Called with the reason why the agent may not know the gateway; `undefined` when it does. */
  readonly onProblem: (problem: string | undefined) => void;
  /** Called before the gateway deregisters on purpose. */
  readonly onDeregister: () => void;
}

/**
 * Keeps the gateway registered with its agent: registers at the start and again whenever the agent has lost it, enables maintenance
 * from the start of a drain to its end so that no new clients are sent, and deregisters.
 *
 * A registration belongs to its creator. One that another process took over under the same id is left alone, one created by somebody
 * else is restored to how it was found, and anything that is not a mesh gateway is rejected. An unreachable agent never keeps the
 * gateway from starting or stopping.
 */
export function registrationService(options: RegistrationServiceOptions): Service {
  return new KeptRegistration(options);
}

class KeptRegistration implements Service {
  readonly name = 'consul-registration';
  readonly #options: RegistrationServiceOptions;
  readonly #agent: Agent;
  /** Distinguishes this process from any other that registers the same id. */
  readonly #mark = randomUUID();
  /** Of the process that has had the registration first. */
  #lineage: string = this.#mark;
  readonly #scope = openScope();
  #isDraining = false;
  /** The registration disappeared after it was made. */
  #hasLost = false;
  /** That happens again and again. */
  #isForgotten = false;
  #refusal: NotAGateway | undefined;
  #keeping: Promise<unknown> = Promise.resolve();

  constructor(options: RegistrationServiceOptions) {
    this.#options = options;
    this.#agent = openAgent(options.agent, SOCKETS);
  }

  /** Rejects when the id belongs to something other than a mesh gateway. */
  async start(signal: AbortSignal): Promise<void> {
    const { onProblem } = this.#options;
    const tries = new Cell<void>();
    this.#keeping = follow((inner) => this.#keep(inner), this.#scope.signal, {
      onValue: (problem) => {
        onProblem(problem);
        tries.set();
      },
      onFailure: (error) => {
        onProblem(`the gateway may be missing in Consul: ${error.message}`);
        if (error instanceof NotAGateway) this.#refusal = error;
        tries.set();
      },
    });
    await tries.changed(0, signal, PATIENCE_MS);
    if (!signal.aborted && this.#refusal === undefined) return;
    await this.#end();
    throw this.#refusal ?? signal.reason;
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#isDraining = true;
    const own = await this.#own(signal);
    if (own !== undefined) await this.#maintain(own.id, true, signal);
  }

  async stop(signal: AbortSignal): Promise<void> {
    const { body, onDeregister } = this.#options;
    this.#scope.end();
    onDeregister();
    try {
      await this.#keeping;
      if (body !== undefined) await this.#takeBack(signal);
      else if (this.#isDraining) await this.#restoreMaintenance(signal);
    } finally {
      await this.#end();
    }
  }

  /** When the registration disappeared, requests may reach different agents: a leftover at one of them would stay for hours. */
  async #takeBack(signal: AbortSignal): Promise<void> {
    const rounds = this.#hasLost ? ROUNDS : 1;
    for (let round = 0; round < rounds; round += 1) {
      const own = await this.#own(signal);
      if (own === undefined) continue;
      // Once, twice, three times: a round-robin balancer, too, must not lead each of them past the right agent.
      for (let turn = 0; turn <= round % 3; turn += 1) await this.#deregister(own.id, signal);
    }
  }

  async #restoreMaintenance(signal: AbortSignal): Promise<void> {
    const own = await this.#own(signal);
    if (own !== undefined) await endOwnMaintenance(this.#agent, own.id, signal);
  }

  async #end(): Promise<void> {
    this.#scope.end();
    await this.#agent.close();
    await this.#keeping;
  }

  /** Yields what is wrong with the registration at each change; `undefined` when nothing is. */
  async *#keep(signal: AbortSignal): AsyncGenerator<string | undefined> {
    await this.#register(signal);
    const id = await this.#serviceId(signal);
    if (!this.#isDraining) await endOwnMaintenance(this.#agent, id, signal);
    let losses: readonly number[] = [];
    for await (const own of ownDefinition(this.#agent, { id, repeatsMissing: true }, signal)) {
      const now = performance.now();
      this.#hasLost ||= own.kind === 'missing';
      if (own.kind === 'missing') losses = [...losses.filter((at) => now - at < LOSSES_WITHIN_MS), now];
      this.#isForgotten ||= this.#options.body !== undefined && losses.length >= MAX_LOSSES;
      if (this.#isForgotten) yield FORGOTTEN;
      if (this.#isForgotten) await pause(FORGOTTEN_REST_MS, signal);
      if (own.kind === 'missing') await this.#register(signal);
      if (!this.#isForgotten) yield this.#problemOf(own, id);
    }
  }

  #problemOf(own: OwnDefinition, id: string): string | undefined {
    const { body } = this.#options;
    if (own.kind === 'missing') return body === undefined ? `the agent no longer knows the gateway ${id}` : undefined;
    // One that replaces this process has it from there.
    const isInOrder = body === undefined || own.mark === this.#mark || own.lineage === this.#lineage;
    return isInOrder
      ? undefined
      : `another process has registered ${id} with the agent: this one leaves it alone from now on`;
  }

  /** @throws AgentError when another live gateway has the id */
  async #register(signal: AbortSignal): Promise<void> {
    const { body } = this.#options;
    if (body === undefined) return;
    const replaced = await this.#replacedBy(body, signal);
    this.#lineage = replaced === '' ? this.#mark : replaced;
    const marked = { ...body, Meta: { ...object(body['Meta']), ...instanceMark(this.#mark, this.#lineage) } };
    await this.#agent.request({ method: 'PUT', path: 'agent/service/register', body: marked }, signal);
    if (this.#isDraining) await this.#maintain(body.ID, true, signal);
  }

  /**
   * A gateway with the same id, another address and a passing check is a different one, whose traffic would be lost. With the same
   * address it is the one that this process replaces; without our mark it was registered by somebody else, and is replaced as Consul's
   * own command would.
   */
  async #replacedBy(body: RegistrationBody, signal: AbortSignal): Promise<string> {
    const path = servicePath(body.ID);
    const response = await this.#agent.request({ path, mayBeMissing: true }, signal);
    const other = response.found ? parsed(response, path, 'a registration', object) : undefined;
    const mark = other === undefined ? '' : markOf(other);
    if (other === undefined || ['', this.#mark].includes(mark)) return '';
    const isSame = other['Port'] === body['Port'] && text(other['Address']) === text(body['Address']);
    if (isSame || !(await isPassing(this.#agent, body.ID, signal))) return lineageOf(other);
    const at = `${text(other['Address'])}:${String(other['Port'])}`;
    throw new AgentError(
      `another gateway is registered with the agent as ${body.ID}, at ${at}, and its check passes: give this one another id`,
    );
  }

  /** The registration that this process owns; `undefined` when there is none, or another process took it over. */
  async #own(signal: AbortSignal): Promise<{ readonly id: string } | undefined> {
    const { body } = this.#options;
    const id = await this.#serviceId(signal);
    const path = servicePath(id);
    const response = await this.#agent.request({ path, mayBeMissing: true, timeoutMs: DEREGISTER_MS }, signal);
    if (!response.found) return undefined;
    const service = parsed(response, path, 'a registration', object);
    const isOurs = body === undefined ? service['Kind'] === 'mesh-gateway' : markOf(service) === this.#mark;
    return isOurs ? { id } : undefined;
  }

  async #maintain(id: string, enable: boolean, signal: AbortSignal): Promise<void> {
    const path = `agent/service/maintenance/${encodeURIComponent(id)}`;
    const query = { enable: String(enable), ...(enable ? { reason: MAINTENANCE_REASON } : {}) };
    await this.#agent.request({ method: 'PUT', path, query, timeoutMs: DEREGISTER_MS }, signal);
  }

  /** Newer agents respond with 404 for a missing registration: then there is nothing to do. */
  async #deregister(id: string, signal: AbortSignal): Promise<void> {
    const path = `agent/service/deregister/${encodeURIComponent(id)}`;
    await this.#agent.request({ method: 'PUT', path, mayBeMissing: true, timeoutMs: DEREGISTER_MS }, signal);
  }

  async #serviceId(signal: AbortSignal): Promise<string> {
    const { body, id } = this.#options;
    return body?.ID ?? id ?? (await onlyGateway(this.#agent, signal));
  }
}

// An agent that restarts loses a registration once.
const MAX_LOSSES = 2;
const LOSSES_WITHIN_MS = 60_000;
const FORGOTTEN_REST_MS = 30_000;
const FORGOTTEN =
  'the agent forgets the registration at once: several agents, or several servers, answer at its address; name the address of one of them';
// Enough for a balancer over a handful of agents.
const ROUNDS = 12;
const SOCKETS = 2;
// A gateway should route within a second of its start, whatever the agent does.
const PATIENCE_MS = 1_000;
// The check fails soon anyway; a shutdown should not wait longer for an agent.
const DEREGISTER_MS = 3_000;
/** Distinguishes our own maintenance, which ends with a restart, from an operator's, which does not. */
const MAINTENANCE_REASON = 'meshgate is draining';

function servicePath(id: string): string {
  return `agent/service/${encodeURIComponent(id)}`;
}

/** A gateway that was killed in the middle of a drain finds itself in maintenance when it restarts. */
async function endOwnMaintenance(agent: Agent, id: string, signal: AbortSignal): Promise<void> {
  const checks = await checksOf(agent, signal);
  const ours = checks.some(
    (check) => text(check['CheckID']) === `_service_maintenance:${id}` && text(check['Notes']) === MAINTENANCE_REASON,
  );
  if (!ours) return;
  const maintenance = `agent/service/maintenance/${encodeURIComponent(id)}`;
  await agent.request({ method: 'PUT', path: maintenance, query: { enable: 'false' } }, signal);
}

async function isPassing(agent: Agent, id: string, signal: AbortSignal): Promise<boolean> {
  const own = (await checksOf(agent, signal)).filter((check) => text(check['ServiceID']) === id);
  return own.length > 0 && own.every((check) => check['Status'] === 'passing');
}

async function checksOf(agent: Agent, signal: AbortSignal): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const path = 'agent/checks';
  return objects(Object.values(parsed(await agent.request({ path }, signal), path, 'checks by id', object)));
}
