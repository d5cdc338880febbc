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

/** What {@link registrationService} keeps up. */
export interface RegistrationServiceOptions {
  readonly agent: AgentOptions;
  /** What to register, and to take back at the end. Absent: somebody else has registered the gateway and takes it back. */
  readonly body?: RegistrationBody;
  /** Service id, where somebody else has registered the gateway; the one mesh gateway of the agent when absent. */
  readonly id?: string;
  /** Told what keeps the agent from knowing the gateway; `undefined` when nothing does. */
  readonly onProblem: (problem: string | undefined) => void;
  /** Told that the gateway leaves on purpose, before it does. */
  readonly onDeregister: () => void;
}

/**
 * Keeps the gateway registered with its agent: registers at the start, again whenever the agent has lost it, puts it into maintenance
 * from the beginning of a drain to its end so that nobody sends more, and takes the registration back.
 *
 * A registration belongs to whoever made it. One that another process has taken over by the same id is left alone, one of somebody else
 * is left as it was found, and what is no mesh gateway is refused. An agent that is away never keeps the gateway from starting or from
 * leaving.
 */
export function registrationService(options: RegistrationServiceOptions): Service {
  return new KeptRegistration(options);
}

class KeptRegistration implements Service {
  readonly name = 'consul-registration';
  readonly #options: RegistrationServiceOptions;
  readonly #agent: Agent;
  /** Tells this process from any other that registers the same id. */
  readonly #mark = randomUUID();
  /** Of the process that has had the registration first. */
  #lineage: string = this.#mark;
  readonly #scope = openScope();
  #isDraining = false;
  /** The registration was missing after it had been made. */
  #hasLost = false;
  /** That happens again and again. */
  #isForgotten = false;
  #refusal: NotAGateway | undefined;
  #keeping: Promise<unknown> = Promise.resolve();

  constructor(options: RegistrationServiceOptions) {
    this.#options = options;
    this.#agent = openAgent(options.agent, SOCKETS);
  }

  /** Rejects when what has the id is no mesh gateway. */
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

  /** Where the registration was missing each question may meet another agent: what is left at one of them would stay for hours. */
  async #takeBack(signal: AbortSignal): Promise<void> {
    const rounds = this.#hasLost ? ROUNDS : 1;
    for (let round = 0; round < rounds; round += 1) {
      const own = await this.#own(signal);
      if (own === undefined) continue;
      // Once, twice, three times: a balancer that takes turns, too, must not lead each of them past the right one.
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

  /** Yields what is wrong with the registration at each change of it; `undefined` when nothing is. */
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
    if (own.kind === 'missing')
      return body === undefined ? `the agent does not know the gateway ${id} any more` : undefined;
    // One that replaces this process has it from there.
    const isInOrder = body === undefined || own.mark === this.#mark || own.lineage === this.#lineage;
    return isInOrder
      ? undefined
      : `another process has registered ${id} with the agent: this one leaves it alone from now on`;
  }

  /** @throws AgentError when another gateway has the id and is alive */
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
   * A gateway that has the id, another address and a passing check is another one, which would lose its traffic. With the same address it
   * is the one that this process replaces; without a mark it is none of ours, and is replaced as Consul's own command would.
   *
   * @returns the lineage of the process that is replaced; `''` for none
   */
  async #replacedBy(body: RegistrationBody, signal: AbortSignal): Promise<string> {
    const path = servicePath(body.ID);
    const answer = await this.#agent.request({ path, mayBeMissing: true }, signal);
    const other = answer.found ? parsed(answer, path, 'a registration', object) : undefined;
    const mark = other === undefined ? '' : markOf(other);
    if (other === undefined || ['', this.#mark].includes(mark)) return '';
    const isSame = other['Port'] === body['Port'] && text(other['Address']) === text(body['Address']);
    if (isSame || !(await isPassing(this.#agent, body.ID, signal))) return lineageOf(other);
    const at = `${text(other['Address'])}:${String(other['Port'])}`;
    throw new AgentError(
      `another gateway is registered with the agent as ${body.ID}, at ${at}, and its check passes: give this one an id of its own`,
    );
  }

  /** The registration that this process answers for; `undefined` when there is none, or when another has taken it over. */
  async #own(signal: AbortSignal): Promise<{ readonly id: string } | undefined> {
    const { body } = this.#options;
    const id = await this.#serviceId(signal);
    const path = servicePath(id);
    const answer = await this.#agent.request({ path, mayBeMissing: true, timeoutMs: DEREGISTER_MS }, signal);
    if (!answer.found) return undefined;
    const service = parsed(answer, path, 'a registration', object);
    const isOurs = body === undefined ? service['Kind'] === 'mesh-gateway' : markOf(service) === this.#mark;
    return isOurs ? { id } : undefined;
  }

  async #maintain(id: string, enable: boolean, signal: AbortSignal): Promise<void> {
    const path = `agent/service/maintenance/${encodeURIComponent(id)}`;
    const query = { enable: String(enable), ...(enable ? { reason: MAINTENANCE_REASON } : {}) };
    await this.#agent.request({ method: 'PUT', path, query, timeoutMs: DEREGISTER_MS }, signal);
  }

  /** Newer agents answer 404 for what is not there any more: then there is nothing left to do. */
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
// Enough for a balancer that takes turns among a handful.
const ROUNDS = 12;
const SOCKETS = 2;
// A gateway should route a second after it was started, whatever the agent does.
const PATIENCE_MS = 1_000;
// The check fails soon after by itself; nobody should wait longer for an agent to hear that the gateway leaves.
const DEREGISTER_MS = 3_000;
/** Tells our own maintenance, which a restart ends, from one that an operator has ordered, which it does not. */
const MAINTENANCE_REASON = 'meshgate is draining';

function servicePath(id: string): string {
  return `agent/service/${encodeURIComponent(id)}`;
}

/** A gateway that was stopped in the middle of a drain finds itself in maintenance when it comes back. */
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
