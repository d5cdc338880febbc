import { AgentError, openAgent, parsed, reasonOf } from './agent.ts';
import type { Agent, AgentOptions } from './agent.ts';
import { DEFAULT_ADDRESS, parseAgentAddress } from './agent-address.ts';
import { object, objects, text } from './json.ts';

/** One thing that was asked of an agent, and what came of it. For people. */
export interface AgentFinding {
  /** What was asked: `Consul agent at http://127.0.0.1:8500`. */
  readonly asked: string;
  /** `failed`: a proxy does not work with it. */
  readonly outcome: 'ok' | 'failed';
  /** What came back, in one clause. */
  readonly found: string;
  /** What to do about it. Present whenever it failed. */
  readonly advice?: string;
}

/** A permission that the token needs. */
export interface NeededRight {
  /** As in a policy. */
  readonly resource: 'agent' | 'node' | 'service';
  /** `write` includes `read`. */
  readonly access: 'read' | 'write';
  /** Of which name; of all when absent. */
  readonly name?: string;
}

/** What a mesh gateway needs of its token, `service` being the name under which it registers itself, if it does. */
export function rightsOfGateway(service?: string): readonly NeededRight[] {
  const own: NeededRight = { resource: 'service', access: 'write', ...(service !== undefined && { name: service }) };
  return [...(service === undefined ? [] : [own]), ...RIGHTS_OF_READERS];
}

/** What whoever derives routes or upstreams from the catalog needs of its token. */
export const RIGHTS_OF_READERS: readonly NeededRight[] = [
  { resource: 'service', access: 'read' },
  { resource: 'node', access: 'read' },
];

/**
 * Asks an agent what a proxy will need of it: that it answers and has a leader, its release, and whether the token may do what it has to.
 * Changes nothing. Never rejects; ends within a quarter of a minute.
 */
export async function checkAgent(
  options: AgentOptions,
  rights: readonly NeededRight[],
): Promise<readonly AgentFinding[]> {
  const address = parseAgentAddress(options.address ?? DEFAULT_ADDRESS);
  if (address.kind === 'invalid') return [failed('Consul agent', address.reason, 'correct the address')];
  const check = new AgentCheck(`Consul agent at ${address.shown}`, openAgent(options, 1));
  try {
    return await check.run(rights);
  } finally {
    await check.agent.close();
  }
}

class AgentCheck {
  readonly agent: Agent;
  readonly #who: string;

  constructor(who: string, agent: Agent) {
    this.#who = who;
    this.agent = agent;
  }

  async run(rights: readonly NeededRight[]): Promise<readonly AgentFinding[]> {
    const leader = await this.#leader();
    // Whoever does not answer has nothing more to say.
    if (leader.outcome === 'failed') return [leader];
    const [release, permissions] = await Promise.all([this.#release(), this.#permissions(rights)]);
    return [leader, release, ...permissions];
  }

  async #leader(): Promise<AgentFinding> {
    const answer = await this.#ask('status/leader');
    if (answer instanceof Error)
      return failed(
        this.#who,
        // The same words stand before what it found.
        reasonOf(answer).replace(`${this.#who}: `, ''),
        'start the agent, or correct address, CA and certificate (--http-addr, --ca-file, --client-cert)',
      );
    const leader = text(answer.json);
    if (leader === '')
      return failed(this.#who, 'its cluster has no leader', 'look at the servers: consul operator raft list-peers');
    return ok(this.#who, `answers, leader ${leader}`);
  }

  async #release(): Promise<AgentFinding> {
    const asked = 'Consul version';
    const answer = await this.#ask('agent/self');
    if (answer instanceof Error)
      return isForbidden(answer)
        ? ok(asked, 'not known: the token has no agent:read, which is needed only for a DNS domain other than consul')
        : failed(asked, answer.message, 'look at the log of the agent');
    const { Version, Datacenter } = object(object(answer.json)?.['Config']) ?? {};
    return ok(asked, `${text(Version) || 'not known'}, datacenter ${text(Datacenter) || 'not known'}`);
  }

  /** By the endpoint that Consul's own page asks, since lists that are filtered look like short ones. */
  async #permissions(rights: readonly NeededRight[]): Promise<readonly AgentFinding[]> {
    const asked = 'ACL token';
    const body = rights.map(({ resource: Resource, access: Access, name: Segment = '' }) => ({
      Resource,
      Access,
      Segment,
    }));
    const answer = await this.#ask('internal/acl/authorize', body);
    if (answer instanceof AgentError && answer.status === UNAUTHORIZED) return [ok(asked, 'ACLs are disabled')];
    if (answer instanceof AgentError && isForbidden(answer))
      return [
        failed(asked, answer.complaint, 'the agent does not know the token: create one, or correct --token-file'),
      ];
    if (answer instanceof Error) return [failed(asked, answer.message, 'look at the log of the agent')];
    const answers = objects(answer.json);
    return rights.map((right, index) => {
      const rule = ruleOf(right);
      if (answers[index]?.['Allow'] === true) return ok(asked, `may ${rule}`);
      return failed(asked, `may not ${rule}`, `add ${rule} to a policy of the token`);
    });
  }

  async #ask(path: string, body?: unknown): Promise<{ readonly json: unknown } | Error> {
    const method = body === undefined ? 'GET' : 'POST';
    try {
      const answer = await this.agent.ask(
        { method, path, timeoutMs: PATIENCE_MS, body },
        AbortSignal.timeout(2 * PATIENCE_MS),
      );
      return { json: parsed(answer, path, 'JSON', (json) => json) };
    } catch (reason) {
      return reason instanceof Error ? reason : new Error(String(reason));
    }
  }
}

const PATIENCE_MS = 5_000;
const UNAUTHORIZED = 401;
const FORBIDDEN = 403;

function isForbidden(reason: Error): boolean {
  return reason instanceof AgentError && reason.status === FORBIDDEN;
}

/** As a policy has it. */
function ruleOf({ resource, access, name }: NeededRight): string {
  return name === undefined
    ? `${resource}_prefix "" { policy = "${access}" }`
    : `${resource} ${JSON.stringify(name)} { policy = "${access}" }`;
}

function ok(asked: string, found: string): AgentFinding {
  return { asked, outcome: 'ok', found };
}

function failed(asked: string, found: string, advice: string): AgentFinding {
  return { asked, outcome: 'failed', found, advice };
}
