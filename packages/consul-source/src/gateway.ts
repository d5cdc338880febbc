import { ConfigProblems } from '@meshgate/core';
import type { ListenAddress, ListenerSource, RouteSource, Service } from '@meshgate/core';
import { exportRulesOf } from '@meshgate/mesh';
import type { ExportRules } from '@meshgate/mesh';
import type { AgentOptions } from './agent.ts';
import { definitionOf } from './definition.ts';
import { listenerSource } from './listener-source.ts';
import { Warnings } from './warnings.ts';
import { withRouteDefaults } from './route-defaults.ts';
import type { RouteDefaults } from './route-defaults.ts';
import { registrationOf } from './registration.ts';
import type { RegisterOptions, RegistrationBody } from './registration.ts';
import { registrationService } from './registration-service.ts';
import type { OnRoots } from './roots.ts';
import { routeSource } from './route-watch.ts';

/** A mesh gateway in Consul: the agent, and the gateway's identity there. */
export interface ConsulOptions extends AgentOptions, ExportRules {
  /** Registers the gateway, and deregisters it at the end. Absent: it is registered by somebody else. */
  readonly register?: RegisterOptions;
  /** Service id of a gateway registered by somebody else; the only mesh gateway of the agent when absent. */
  readonly proxyId?: string;
  /** The local datacenter; requested from Consul when absent. */
  readonly datacenter?: string;
  /** DNS domain of the agents; when absent requested from the agent, which needs `agent:read`, else `consul`. */
  readonly dnsDomain?: string;
  /** Told when the last root of this cluster expires, and that of each peer; `undefined` for a peer that is gone or shows none. */
  readonly onRoots?: OnRoots;
  /** What every route has beside what Consul says of it; nothing when absent. */
  readonly routes?: RouteDefaults;
}

/** The parts of a mesh gateway that Consul configures. Each opens and closes its own sockets: 27 at most, in total. */
export interface ConsulParts {
  /** Routes to each service that the mesh reaches through this gateway. */
  readonly routes: RouteSource;
  /** Listen addresses of the gateway's registration. */
  readonly listeners: ListenerSource;
  /** Maintains the registration. Started before the listeners, stopped after them. */
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
  const named = id === undefined ? {} : { id };
  const { datacenter, dnsDomain, partition, onRoots } = options;
  const preset = {
    ...named,
    ...(datacenter === undefined ? {} : { datacenter }),
    ...(dnsDomain === undefined ? {} : { dnsDomain }),
    ...(partition === undefined ? {} : { partition }),
  };
  const warnings = new Warnings();
  const expected = definitionOf(body && asRegistered(body));
  return {
    routes: withRouteDefaults(
      routeSource({
        agent: options,
        preset,
        warnings,
        ...(expected === undefined ? {} : { expected }),
        ...exportRulesOf(options),
        ...(onRoots === undefined ? {} : { onRoots }),
      }),
      options.routes,
    ),
    listeners: listenerSource({ agent: options, ...named, meanwhile: expected?.listeners ?? [] }),
    registration: registrationService({
      agent: options,
      ...(body === undefined ? named : { body }),
      onProblem: (problem) => warnings.set('registration', problem),
      onDeregister: () => warnings.markDeregistering(),
    }),
  };
}

/**
 * Where a gateway that registers itself will listen: nothing when it is registered by somebody else.
 *
 * @throws ConfigProblems when `register` is invalid
 */
export function listenersOf({ register }: Pick<ConsulOptions, 'register'>): readonly ListenAddress[] {
  return register === undefined ? [] : (definitionOf(asRegistered(bodyOf(register)))?.listeners ?? []);
}

/** Only the routes, for callers that need neither registration nor listeners. */
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

/** The form in which the agent returns it: the name has another key there. */
function asRegistered(body: RegistrationBody): unknown {
  return { ...body, Service: body.Name };
}
