import { defined, errorOf } from '@meshgate/core/parts';
import type { Intention } from '@meshgate/mesh';
import { hasStatus, openAgent, parsed, parsedResponse, reasonOf } from './agent.ts';
import type { Agent, AgentOptions, ParsedRequest } from './agent.ts';
import { DEFAULT_ADDRESS, parseAgentAddress } from './agent-address.ts';
import { intentionsAt } from './intention-records.ts';
import { object, objects, text } from './json.ts';
import type { JsonObject } from './json.ts';

/** One check of an agent and its result. */
export interface AgentFinding {
  /** The subject of the check: `Consul agent at http://127.0.0.1:8500`. */
  readonly check: string;
  /** `failed` when a proxy cannot work with the agent. */
  readonly outcome: 'ok' | 'warning' | 'failed';
  /** The result, in one clause. */
  readonly found: string;
  /** The remedy; always present after a failure. */
  readonly advice?: string;
}

/** A permission that the token of a proxy needs. */
export interface NeededRight {
  /** As in a policy. */
  readonly resource: 'agent' | 'node' | 'service';
  /** `write` includes `read`. */
  readonly access: 'read' | 'write';
  /** Name of the resource; all names when absent. */
  readonly name?: string;
}

/**
 * Returns the permissions for a mesh gateway's token. `service` is the name under which the gateway registers itself,
 * if it does.
 */
export function rightsOfGateway(service?: string): readonly NeededRight[] {
  const own: NeededRight = { resource: 'service', access: 'write', ...defined({ name: service }) };
  return [...(service === undefined ? [] : [own]), ...RIGHTS_OF_READERS];
}

/** The permissions that a token needs to derive routes or upstreams from the catalog. */
export const RIGHTS_OF_READERS: readonly NeededRight[] = [
  { resource: 'service', access: 'read' },
  { resource: 'node', access: 'read' },
];

/**
 * Checks an agent for what a proxy needs: its response, its leader, its release, its certificates, its clock, and the
 * token's permissions. Read-only. Never rejects; takes 15 s at most.
 */
export async function checkAgent(
  options: AgentOptions,
  rights: readonly NeededRight[],
): Promise<readonly AgentFinding[]> {
  const address = parseAgentAddress(options.address ?? DEFAULT_ADDRESS);
  if (address.kind === 'invalid') return [failed('Consul agent', address.reason, 'correct the address')];
  const certificates = new Map<string, Date>();
  const onCertificate = (whose: 'agent' | 'client', validUntil: Date): unknown => certificates.set(whose, validUntil);
  const agent = openAgent({ ...options, onCertificate }, 1);
  const check = new AgentCheck(`Consul agent at ${address.shown}`, agent, certificates);
  try {
    return await check.run(rights);
  } finally {
    await check.agent.close();
  }
}

class AgentCheck {
  readonly agent: Agent;
  readonly #who: string;
  /** Expiry of the certificates on the connection, by `agent` and `client`. */
  readonly #certificates: ReadonlyMap<string, Date>;

  constructor(who: string, agent: Agent, certificates: ReadonlyMap<string, Date>) {
    this.#who = who;
    this.agent = agent;
    this.#certificates = certificates;
  }

  async run(rights: readonly NeededRight[]): Promise<readonly AgentFinding[]> {
    const [leader, ...clock] = await this.#leader();
    // An unreachable agent is not checked further.
    if (leader.outcome === 'failed') return [leader, ...clock];
    const [release, permissions] = await Promise.all([this.#release(), this.#permissions(rights)]);
    return [leader, ...clock, ...this.#expiries(), release, ...permissions];
  }

  #expiries(): readonly AgentFinding[] {
    return Array.from(this.#certificates, ([whose, validUntil]) => {
      const check = whose === 'agent' ? 'certificate of the agent' : 'certificate for the agent';
      const found = `expires at ${validUntil.toISOString()}`;
      if (validUntil.getTime() - new Date().getTime() > SOON_MS) return ok(check, found);
      return { check, outcome: 'warning', found, advice: 'renew it: routes are not updated once it has expired' };
    });
  }

  async #leader(): Promise<readonly [AgentFinding, ...AgentFinding[]]> {
    const queriedAt = new Date().getTime();
    const response = await this.#request('status/leader');
    if (response instanceof Error) {
      // The message repeats the name of the check.
      const found = reasonOf(response).replace(`${this.#who}: `, '');
      return [failed(this.#who, found, adviceFor(found))];
    }
    const clock =
      response.date === undefined ? [] : [clockFinding(queriedAt, response.date.getTime(), new Date().getTime())];
    const leader = text(response.json);
    if (leader === '')
      return [
        failed(this.#who, 'its cluster has no leader', 'check the servers: consul operator raft list-peers'),
        ...clock,
      ];
    return [ok(this.#who, `responds, leader ${leader}`), ...clock];
  }

  async #release(): Promise<AgentFinding> {
    const check = 'Consul version';
    const response = await this.#request('agent/self');
    if (response instanceof Error)
      return hasStatus(response, 403)
        ? ok(check, 'unknown: the token lacks agent:read, needed only for a DNS domain other than consul')
        : failed(check, response.message, 'check the log of the agent');
    const { Version, Datacenter } = object(object(response.json)?.['Config']) ?? {};
    return ok(check, `${text(Version) || 'unknown'}, datacenter ${text(Datacenter) || 'unknown'}`);
  }

  /** Uses the endpoint of Consul's own UI: filtered lists do not reveal a missing permission. */
  async #permissions(rights: readonly NeededRight[]): Promise<readonly AgentFinding[]> {
    const check = 'ACL token';
    const body = rights.map(({ resource: Resource, access: Access, name: Segment = '' }) => ({
      Resource,
      Access,
      Segment,
    }));
    const response = await this.#request('internal/acl/authorize', body);
    if (hasStatus(response, 401)) return [ok(check, 'ACLs are disabled')];
    if (hasStatus(response, 403))
      return [
        failed(check, response.complaint, 'the agent does not know the token: create one, or correct --token-file'),
      ];
    if (response instanceof Error) return [failed(check, response.message, 'check the log of the agent')];
    const responses = objects(response.json);
    return rights.map((right, index) => {
      const rule = ruleOf(right);
      if (responses[index]?.['Allow'] === true) return ok(check, `may ${rule}`);
      return failed(check, `may not ${rule}`, `add ${rule} to a policy of the token`);
    });
  }

  async #request(path: string, body?: unknown): Promise<{ readonly json: unknown; readonly date?: Date } | Error> {
    const method = body === undefined ? 'GET' : 'POST';
    try {
      const response = await this.agent.request(
        { method, path, timeoutMs: PATIENCE_MS, body },
        AbortSignal.timeout(2 * PATIENCE_MS),
      );
      const json = parsed(response, { path, expected: 'JSON', read: (one) => one });
      return { json, ...defined({ date: response.date }) };
    } catch (reason) {
      return errorOf(reason);
    }
  }
}

/** Sends one request over a connection of its own. @throws AgentError also when there is no response in time */
export async function singleResponse<T>(options: AgentOptions, request: ParsedRequest<T>): Promise<T> {
  const agent = openAgent(options, 1);
  try {
    return await parsedResponse(agent, { ...request, timeoutMs: PATIENCE_MS }, AbortSignal.timeout(2 * PATIENCE_MS));
  } finally {
    await agent.close();
  }
}

const PATIENCE_MS = 5_000;
const SOON_MS = 7 * 86_400_000;

/** Returns the remedy. A certificate outside its validity period may also mean a wrong clock on this machine. */
function adviceFor(found: string): string {
  if (found.includes('not yet valid')) return 'set the clock of this machine, or wait until its certificate is valid';
  if (found.includes('has expired')) return 'renew the certificate of the agent, or set the clock of this machine';
  return 'start the agent, or correct address, CA and certificate (--http-addr, --ca-file, --client-cert)';
}

/**
 * Compares the clocks of agent and machine: with a large offset, one side rejects the other's certificates as not yet
 * valid, or expired. Pure.
 *
 * @param queriedAt by the local clock, as `answeredAt`; all in milliseconds of Unix time
 * @param agentAt by the agent's clock, whole seconds
 */
export function clockFinding(queriedAt: number, agentAt: number, answeredAt: number): AgentFinding {
  const check = 'clock';
  // The agent responded between the two local times, and its clock has whole seconds.
  const ahead = agentAt > answeredAt ? agentAt - answeredAt : Math.min(0, agentAt + 1_000 - queriedAt);
  const seconds = Math.round(Math.abs(ahead) / 1_000);
  if (seconds <= IN_STEP_S) return ok(check, "in sync with the agent's");
  const found = `${seconds} s ${ahead > 0 ? 'behind' : 'ahead of'} the agent's`;
  const advice = 'synchronize both clocks with NTP: certificates are rejected outside their validity';
  // Consul backdates its certificates by one minute.
  return { check, outcome: seconds > MAX_SKEW_S ? 'failed' : 'warning', found, advice };
}

const IN_STEP_S = 2;
const MAX_SKEW_S = 60;

/** Formats the permission as a rule of an ACL policy. */
function ruleOf({ resource, access, name }: NeededRight): string {
  return name === undefined
    ? `${resource}_prefix "" { policy = "${access}" }`
    : `${resource} ${JSON.stringify(name)} { policy = "${access}" }`;
}

function ok(check: string, found: string): AgentFinding {
  return { check, outcome: 'ok', found };
}

function failed(check: string, found: string, advice: string): AgentFinding {
  return { check, outcome: 'failed', found, advice };
}

/** The intentions for connections to a service, from any source. */
export type IntentionVerdict =
  /** The agent does not respond, or the token may not read the intentions. */
  | { readonly kind: 'unknown'; readonly why: string }
  /** Every intention with the service as its destination, highest precedence first. */
  | { readonly kind: 'known'; readonly intentions: readonly Intention[] };

/** Queries an agent for the intentions of a service (`connect/intentions/match`). Read-only. Never rejects. */
export async function intentionsTo(options: AgentOptions, service: string): Promise<IntentionVerdict> {
  try {
    return { kind: 'known', intentions: await singleResponse(options, intentionsAt(service)) };
  } catch (reason) {
    return { kind: 'unknown', why: reasonOf(reason) };
  }
}

/**
 * Returns the checks of a service's instances that do not pass, such as
 * `application critical (dial tcp 127.0.0.1:9: connect: connection refused)`. Read-only. Never rejects; returns none
 * when the query fails.
 */
export async function failingChecks(options: AgentOptions, service: string): Promise<readonly string[]> {
  const path = `health/connect/${encodeURIComponent(service)}`;
  try {
    const entries = await singleResponse(options, { path, expected: 'instances', read: objects });
    const checks = entries.flatMap((entry) => objects(entry['Checks']));
    const failing = checks.filter((check) => check['Status'] !== 'passing').map(checkText);
    return [...new Set(failing)].slice(0, MAX_CHECKS);
  } catch {
    return [];
  }
}

function checkText(check: JsonObject): string {
  const [output = ''] = text(check['Output']).trim().split('\n');
  return `${text(check['Name'])} ${text(check['Status'])}${output === '' ? '' : ` (${output.slice(0, MAX_OUTPUT_CHARS)})`}`;
}

/** Keeps the list short for a service with hundreds of instances. */
const MAX_CHECKS = 3;
const MAX_OUTPUT_CHARS = 200;
