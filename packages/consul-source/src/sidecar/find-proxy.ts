import { pause } from '@meshgate/core';
import { AgentError } from '../agent.ts';
import type { Agent } from '../agent.ts';
import type { ProxyChoice } from '@meshgate/mesh';
import { object, text } from '../json.ts';
import type { JsonObject } from '../json.ts';
import { registrationAt, servicesAt } from '../own-definition.ts';

/**
 * Finds the id of the selected proxy. Waits for a missing proxy: it may be registered after the sidecar starts.
 *
 * @throws AgentError at the first call that has to wait, with the reason; later calls wait silently
 */
export type FindProxy = (agent: Agent, signal: AbortSignal) => Promise<string>;

/**
 * Creates a {@link FindProxy}.
 *
 * @param reportsMissing when false, it never throws for a missing proxy, because another part reports it
 */
export function proxyFinder(choice: ProxyChoice, { reportsMissing }: { readonly reportsMissing: boolean }): FindProxy {
  let isReported = !reportsMissing;
  return async (agent, signal) => {
    for (let restMs = FIRST_REST_MS; ; restMs = Math.min(restMs * 2, LONGEST_REST_MS)) {
      const found = await lookUp(agent, choice, signal);
      if (found.kind === 'found') return found.id;
      if (!isReported) {
        isReported = true;
        throw new AgentError(`${found.message}; waiting for its registration`);
      }
      await pause(restMs, signal);
    }
  };
}

// Finds a pending registration at once; a missing one costs one request per second.
const FIRST_REST_MS = 50;
const LONGEST_REST_MS = 1_000;

type LookUp = { readonly kind: 'found'; readonly id: string } | { readonly kind: 'missing'; readonly message: string };

async function lookUp(agent: Agent, choice: ProxyChoice, signal: AbortSignal): Promise<LookUp> {
  if ('sidecarFor' in choice) return byInstance(await servicesAt(agent, signal), choice.sidecarFor);
  const id = choice.proxyId;
  // Accepts any service with this id; the caller checks later whether it is a proxy.
  if ((await agent.request({ ...registrationAt(id), mayBeMissing: true }, signal)).found) return { kind: 'found', id };
  const services = await servicesAt(agent, signal);
  const proxies = services.filter(isProxy).map((service) => text(service['ID']));
  const found = listed(proxies) || noneOf(services);
  const message = `expected a proxy registered with the agent as ${id}, found ${found}${inOtherCase(id, proxies)}`;
  return { kind: 'missing', message };
}

function byInstance(services: readonly JsonObject[], instance: string): LookUp {
  const proxies = services.filter(isProxy);
  const ids = proxies.filter((proxy) => instanceOf(proxy) === instance).map((proxy) => text(proxy['ID']));
  const [id, ...others] = ids;
  if (id !== undefined && others.length === 0) return { kind: 'found', id };
  const instances = proxies.map(instanceOf);
  const served = listed(instances);
  const none = served === '' ? noneOf(services) : `proxies for ${served}${inOtherCase(instance, instances)}`;
  const found = id === undefined ? none : `${listed(ids)}: select one by its id`;
  return { kind: 'missing', message: `expected one proxy registered with the agent for ${instance}, found ${found}` };
}

/** Suggests an id that differs only in case: Consul ignores the case of service names, but not of ids. */
function inOtherCase(id: string, known: readonly string[]): string {
  const other = known.find((one) => one !== id && one.toLowerCase() === id.toLowerCase());
  return other === undefined ? '' : `: did you mean ${JSON.stringify(other)}? Ids differ by case`;
}

/** Explains an empty list: an agent silently omits entries that the token may not read. */
function noneOf(services: readonly JsonObject[]): string {
  return services.length > 0 ? 'none' : 'no services (a token without service "read" sees none)';
}

function isProxy(service: JsonObject): boolean {
  return service['Kind'] === 'connect-proxy';
}

/**
 * Returns the id of the instance behind a proxy, or its service when the registration names no instance, as in mesh
 * files.
 */
function instanceOf(service: JsonObject): string {
  const proxy = object(service['Proxy']);
  return text(proxy?.['DestinationServiceID']) || text(proxy?.['DestinationServiceName']);
}

function listed(names: readonly string[]): string {
  return names.toSorted().join(', ');
}
