import type { Service } from '@meshgate/core';
import { pause } from '@meshgate/core';
import { Cell, follow, openScope } from '@meshgate/core/parts';
import { AgentError, openAgent, parsed, parsedResponse } from './agent.ts';
import type { Agent, AgentOptions } from './agent.ts';
import { object, objects, text } from './json.ts';
import type { JsonObject } from './json.ts';
import {
  expectGateway,
  instanceMark,
  lineageOf,
  markOf,
  NotAGateway,
  onlyGateway,
  ownDefinition,
  registrationAt,
} from './own-definition.ts';
import type { OwnDefinition } from './own-definition.ts';
import type { RegistrationBody } from './registration.ts';

/** Options of {@link registrationService}. */
export interface RegistrationServiceOptions {
  readonly agent: AgentOptions;
  /** Registration to make, and to remove at the end. When absent, the gateway's registration is managed elsewhere. */
  readonly body?: RegistrationBody;
  /** Distinguishes this process from others that register the same id, see `instanceMark`. */
  readonly mark: string;
  /** Service id of a registration that is managed elsewhere; the only mesh gateway of the agent when absent. */
  readonly id?: string;
  /** Called with the reason why the agent may not know the gateway; `undefined` when it does. */
  readonly onProblem: (problem: string | undefined) => void;
  /** Called before an intended deregistration. */
  readonly onDeregister: () => void;
}

/**
 * Keeps the gateway registered with its agent: registers it at the start and again whenever the agent has lost it,
 * enables maintenance mode from the start of a drain to its end so that no new clients are sent, and deregisters it.
 *
 * A registration belongs to its creator. When another process has taken over the id, its registration is left alone; a
 * registration that is managed elsewhere gets back its previous maintenance mode; and anything that is not a mesh
 * gateway is rejected. An unreachable agent never prevents the gateway from starting or stopping.
 */
export function registrationService(options: RegistrationServiceOptions): Service {
  return new KeptRegistration(options);
}

class KeptRegistration implements Service {
  readonly name = 'consul-registration';
  readonly #options: RegistrationServiceOptions;
  readonly #agent: Agent;
  readonly #mark: string;
  /** Mark of the process that had the registration first. */
  #lineage: string;
  readonly #scope = openScope();
  #isDraining = false;
  /** The registration disappeared after it was made. */
  #hasLost = false;
  /** The registration disappears again and again. */
  #isForgotten = false;
  #refusal: NotAGateway | undefined;
  #keeping: Promise<unknown> = Promise.resolve();

  constructor(options: RegistrationServiceOptions) {
    this.#options = options;
    this.#mark = options.mark;
    this.#lineage = options.mark;
    this.#agent = openAgent(options.agent, SOCKETS);
  }

  /** Starts to keep the registration. Rejects when the id belongs to something other than a mesh gateway. */
  async start(signal: AbortSignal): Promise<void> {
    const { onProblem } = this.#options;
    const attempts = new Cell<void>();
    this.#keeping = follow((inner) => this.#keep(inner), this.#scope.signal, {
      onValue: (problem) => {
        onProblem(problem);
        attempts.set();
      },
      onFailure: (error) => {
        onProblem(`the gateway may be missing in Consul: ${error.message}`);
        if (error instanceof NotAGateway) this.#refusal = error;
        attempts.set();
      },
    });
    await attempts.changed(0, signal, PATIENCE_MS);
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

  /**
   * Deregisters the gateway. If its registration has disappeared before, several agents may share the address, and a
   * leftover registration at one of them would remain for hours: so it repeats the attempt.
   */
  async #takeBack(signal: AbortSignal): Promise<void> {
    const repeats = this.#hasLost ? MAX_REPEATS : 1;
    for (let round = 0; round < repeats; round += 1) {
      const own = await this.#own(signal);
      if (own === undefined) continue;
      // One, two, then three requests: with a round-robin balancer in front of the agents, a constant number could miss
      // the right agent in every round.
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

  /** Yields the problem of the registration at each change; `undefined` when there is none. */
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
      if (this.#isForgotten) {
        yield FORGOTTEN;
        await pause(FORGOTTEN_REST_MS, signal);
        this.#isForgotten = own.kind === 'missing' || !(await this.#isKept(id, signal));
        if (!this.#isForgotten) losses = [];
      }
      if (own.kind === 'missing') await this.#register(signal);
      if (!this.#isForgotten) yield this.#problemOf(own, id);
    }
  }

  /** Whether every agent behind the address has the registration: asks as often as it is removed at the end. */
  async #isKept(id: string, signal: AbortSignal): Promise<boolean> {
    for (let turn = 0; turn < MAX_REPEATS; turn += 1) {
      const { found } = await this.#agent.request({ ...registrationAt(id), mayBeMissing: true }, signal);
      if (!found) return false;
    }
    return true;
  }

  #problemOf(own: OwnDefinition, id: string): string | undefined {
    const { body } = this.#options;
    if (own.kind === 'missing') return body === undefined ? `the agent no longer knows the gateway ${id}` : undefined;
    // A process that takes over from this one keeps its lineage.
    const isInOrder = body === undefined || own.mark === this.#mark || own.lineage === this.#lineage;
    return isInOrder ? undefined : `another process has registered ${id} with the agent: this one no longer updates it`;
  }

  /** Registers the gateway. @throws AgentError when another live gateway has the id */
  async #register(signal: AbortSignal): Promise<void> {
    const { body } = this.#options;
    if (body === undefined) return;
    const replaced = await replacedBy(this.#agent, { body, mark: this.#mark }, signal);
    this.#lineage = replaced === '' ? this.#mark : replaced;
    const marked = { ...body, Meta: { ...object(body['Meta']), ...instanceMark(this.#mark, this.#lineage) } };
    await this.#agent.request({ method: 'PUT', path: 'agent/service/register', body: marked }, signal);
    if (this.#isDraining) await this.#maintain(body.ID, true, signal);
  }

  /**
   * Returns the registration of this process; `undefined` when there is none, or when another process has taken it
   * over.
   */
  async #own(signal: AbortSignal): Promise<{ readonly id: string } | undefined> {
    const { body } = this.#options;
    const id = await this.#serviceId(signal);
    const format = registrationAt(id);
    const response = await this.#agent.request({ ...format, mayBeMissing: true, timeoutMs: DEREGISTER_MS }, signal);
    if (!response.found) return undefined;
    const service = parsed(response, format);
    const isOurs = body === undefined ? service['Kind'] === 'mesh-gateway' : markOf(service) === this.#mark;
    return isOurs ? { id } : undefined;
  }

  async #maintain(id: string, enable: boolean, signal: AbortSignal): Promise<void> {
    const path = `agent/service/maintenance/${encodeURIComponent(id)}`;
    const query = { enable: String(enable), ...(enable ? { reason: MAINTENANCE_REASON } : {}) };
    await this.#agent.request({ method: 'PUT', path, query, timeoutMs: DEREGISTER_MS }, signal);
  }

  /** Accepts a 404: newer agents respond with it when the registration is already gone. */
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
  'the agent loses the registration at once: several agents or servers respond at its address; configure the address of one of them';
// Enough for a load balancer over a handful of agents.
const MAX_REPEATS = 12;
const SOCKETS = 2;
// A gateway must route within a second of its start, even without a response from the agent.
const PATIENCE_MS = 1_000;
// The check fails soon in any case; a shutdown must not wait longer for an agent.
const DEREGISTER_MS = 3_000;
/** Distinguishes maintenance mode set by the gateway, which ends with a restart, from an operator's, which does not. */
const MAINTENANCE_REASON = 'meshgate is draining';

/** Returns the id of the check that an agent adds for maintenance mode. */
function maintenanceCheck(serviceId: string): string {
  return `_service_maintenance:${serviceId}`;
}

/** Ends the maintenance mode that a gateway left behind when it was killed during a drain. */
async function endOwnMaintenance(agent: Agent, id: string, signal: AbortSignal): Promise<void> {
  const checks = await checksOf(agent, signal);
  const ours = checks.some(
    (check) => text(check['CheckID']) === maintenanceCheck(id) && text(check['Notes']) === MAINTENANCE_REASON,
  );
  if (!ours) return;
  const maintenance = `agent/service/maintenance/${encodeURIComponent(id)}`;
  await agent.request({ method: 'PUT', path: maintenance, query: { enable: 'false' } }, signal);
}

/**
 * Returns the lineage of the gateway that the process with the mark takes over from; `''` when there is none. With the
 * same port of the same address it is the predecessor of the process, or other software that has stopped. Another mesh
 * gateway that is alive keeps its registration: its traffic would be lost.
 *
 * @throws NotAGateway when the id belongs to another kind of service
 * @throws AgentError when another live gateway has the id
 */
export async function replacedBy(
  agent: Agent,
  { body, mark }: { readonly body: RegistrationBody; readonly mark?: string },
  signal: AbortSignal,
): Promise<string> {
  const format = registrationAt(body.ID);
  const response = await agent.request({ ...format, mayBeMissing: true }, signal);
  if (!response.found) return '';
  const other = parsed(response, format);
  expectGateway(other, body.ID);
  if (markOf(other) === mark) return '';
  if (isSameAddress(other, body)) return lineageOf(other);
  if (!(await isAlive(agent, body, signal))) return '';
  const at = `${text(other['Address'])}:${String(other['Port'])}`;
  throw new AgentError(
    `another gateway is registered with the agent as ${body.ID}, at ${at}, and its check does not fail: give this one another id`,
  );
}

/**
 * Whether both are at one address. Without a host a registration has the agent's own address, and such a gateway listens
 * on all addresses of the host.
 */
function isSameAddress(...[one, other]: readonly [JsonObject, JsonObject]): boolean {
  const hosts = [text(one['Address']), text(other['Address'])];
  return one['Port'] === other['Port'] && (hosts[0] === hosts[1] || hosts.includes(''));
}

/**
 * Whether the gateway that is registered with the id is alive, as far as its checks say. A check that has not run yet
 * has no output. The check of a killed gateway may query the admin address that this process has now.
 */
async function isAlive(agent: Agent, body: RegistrationBody, signal: AbortSignal): Promise<boolean> {
  const checks = (await checksOf(agent, signal)).filter((check) => text(check['ServiceID']) === body.ID);
  const queriesUs = `GET ${text(object(body['Check'])?.['HTTP'])}: `;
  return (
    checks.length > 0 && checks.every((check) => isOrMayBePassing(check) && !text(check['Output']).includes(queriesUs))
  );
}

function isOrMayBePassing({ CheckID, ServiceID, Status, Output }: JsonObject): boolean {
  const isMaintenance = text(CheckID) === maintenanceCheck(text(ServiceID));
  return Status === 'passing' || (!isMaintenance && Output === '');
}

async function checksOf(agent: Agent, signal: AbortSignal): Promise<readonly JsonObject[]> {
  const request = { path: 'agent/checks', expected: 'checks by id', read: object };
  return objects(Object.values(await parsedResponse(agent, request, signal)));
}
