import { randomUUID } from 'node:crypto';
import { ConfigProblems } from '@meshgate/core';
import type { ListenAddress, ListenerSource, RouteSource, Service } from '@meshgate/core';
import { defined, errorOf } from '@meshgate/core/parts';
import { exportRulesOf } from '@meshgate/mesh';
import type { ExportRules } from '@meshgate/mesh';
import { AgentError, openAgent, parsed } from './agent.ts';
import type { Agent, AgentOptions } from './agent.ts';
import type { AgentFinding } from './agent-check.ts';
import { listenerSource } from './listener-source.ts';
import { definitionOf, expectGateway, onlyGateway, registrationAt } from './own-definition.ts';
import { Warnings } from './warnings.ts';
import { withRouteDefaults } from './route-defaults.ts';
import type { RouteDefaults } from './route-defaults.ts';
import { registrationOf } from './registration.ts';
import type { RegisterOptions, RegistrationBody } from './registration.ts';
import { registrationService, replacedBy } from './registration-service.ts';
import type { OnRoots } from './roots.ts';
import { routeSource } from './route-watch.ts';

/** The agent, and the identity of a mesh gateway in Consul. */
export interface ConsulOptions extends AgentOptions, ExportRules {
  /**
   * Registers the gateway, and deregisters it at the end. When absent, the gateway's registration is managed elsewhere.
   */
  readonly register?: RegisterOptions;
  /** Service id of a registration that is managed elsewhere; the only mesh gateway of the agent when absent. */
  readonly proxyId?: string;
  /**
   * Catalog node of the gateway's registration, when the gateway is not registered with the agent. Ignored with
   * `register`.
   */
  readonly node?: string;
  /** Name of the local datacenter; queried from Consul when absent. */
  readonly datacenter?: string;
  /** DNS domain of the agents. When absent it is queried from the agent, which needs `agent:read`, else `consul`. */
  readonly dnsDomain?: string;
  /**
   * Called with the expiry of this cluster's last root, and of each peer's; `undefined` for a peer that is gone or has
   * no root.
   */
  readonly onRoots?: OnRoots;
  /** Settings of all routes that Consul itself does not define; none when absent. */
  readonly routes?: RouteDefaults;
}

/** The parts of a mesh gateway that Consul configures. Each opens and closes its own sockets, 27 in total at most. */
export interface ConsulParts {
  /** Routes to every service that is reachable through this gateway. */
  readonly routes: RouteSource;
  /** Listen addresses in the gateway's registration. */
  readonly listeners: ListenerSource;
  /** Keeps the gateway registered. To be started before the listeners, and stopped after them. */
  readonly registration: Service;
}

/**
 * Creates the parts that configure a mesh gateway from the local Consul agent.
 *
 * @throws ConfigProblems when `register` is invalid; AgentError when the address is
 */
export function consulParts(options: ConsulOptions): ConsulParts {
  const body = options.register === undefined ? undefined : bodyOf(options.register);
  const id = body?.ID ?? options.proxyId;
  const node = body === undefined ? options.node : undefined;
  const named = defined({ id, node });
  const { datacenter, dnsDomain, partition, onRoots } = options;
  const warnings = new Warnings();
  const expected = definitionOf(body && asRegistered(body));
  const mark = randomUUID();
  return {
    routes: withRouteDefaults(
      routeSource({
        agent: options,
        preset: defined({ id, node, datacenter, dnsDomain, partition }),
        warnings,
        ...defined({ expected, onRoots }),
        ...exportRulesOf(options),
      }),
      options.routes,
    ),
    listeners: listenerSource({
      agent: options,
      ...named,
      ...(expected === undefined ? {} : { registered: { mark, meanwhile: expected.listeners } }),
    }),
    registration:
      node === undefined
        ? registrationService({
            agent: options,
            mark,
            ...(body === undefined ? named : { body }),
            onProblem: (problem) => warnings.set('registration', problem),
            onDeregister: () => warnings.markDeregistering(),
          })
        : IN_CATALOG,
  };
}

/**
 * Returns the listen addresses of a gateway that registers itself; none when its registration is managed elsewhere.
 *
 * @throws ConfigProblems when `register` is invalid
 */
export function listenersOf({ register }: Pick<ConsulOptions, 'register'>): readonly ListenAddress[] {
  return register === undefined ? [] : (definitionOf(asRegistered(bodyOf(register)))?.listeners ?? []);
}

/**
 * Checks, without a change, whether a gateway could be registered, or is, as a start requires. Returns nothing for one
 * that only the catalog has, and when the agent does not respond. Never rejects.
 */
export async function checkRegistration(options: ConsulOptions): Promise<readonly AgentFinding[]> {
  const { register, node, proxyId } = options;
  if (register === undefined && node !== undefined) return [];
  const agent = openAgent(options, 1);
  try {
    const found = await registrationFound(agent, { register, proxyId }, AbortSignal.timeout(CHECK_PATIENCE_MS));
    return [{ check: REGISTRATION, outcome: 'ok', found }];
  } catch (reason) {
    if (reason instanceof AgentError && reason.unreachable !== undefined) return [];
    return [{ check: REGISTRATION, outcome: 'failed', found: errorOf(reason).message, advice: ANOTHER_ID }];
  } finally {
    await agent.close();
  }
}

const REGISTRATION = 'registration';
const CHECK_PATIENCE_MS = 5_000;
const ANOTHER_ID = 'correct the id (--service, --proxy-id), or what is registered under it';

/** @throws AgentError saying why a gateway with these options could not be registered, or is not */
async function registrationFound(
  agent: Agent,
  { register, proxyId }: { readonly register: RegisterOptions | undefined; readonly proxyId: string | undefined },
  signal: AbortSignal,
): Promise<string> {
  if (register !== undefined) {
    const body = bodyOf(register);
    await replacedBy(agent, { body }, signal);
    return `the gateway can be registered as ${body.ID}`;
  }
  const id = proxyId ?? (await onlyGateway(agent, signal));
  const format = registrationAt(id);
  const response = await agent.request({ ...format, mayBeMissing: true }, signal);
  if (!response.found) throw new AgentError(`the agent knows no service with the id ${id}`);
  expectGateway(parsed(response, format), id);
  return `the agent knows the gateway ${id}`;
}

/** Changes nothing, since a catalog entry belongs to its creator, such as Consul's controllers on Kubernetes. */
const IN_CATALOG: Service = {
  name: 'consul-registration',
  start: () => Promise.resolve(),
  stop: () => Promise.resolve(),
};

/** Creates the route source alone, for callers that need neither registration nor listeners. */
export function consulSource(options: ConsulOptions): RouteSource {
  return consulParts(options).routes;
}

function bodyOf(register: RegisterOptions): RegistrationBody {
  const registration = registrationOf(register);
  if (registration.kind === 'registration') return registration.body;
  throw new ConfigProblems(
    registration.problems.map((problem) => ({ ...problem, path: ['register', ...problem.path] })),
  );
}

/** Returns the form in which the agent reports a registration: the name has another key there. */
function asRegistered(body: RegistrationBody): unknown {
  return { ...body, Service: body.Name };
}
