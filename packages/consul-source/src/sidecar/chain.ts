import { defined } from '@meshgate/core/parts';
import { decideMode, serviceIdentity } from '@meshgate/mesh';
import type { ChainTarget, CompiledChain, ModeDecision } from '@meshgate/mesh';
import { list, object, optionalText, text } from '../json.ts';
import type { JsonObject } from '../json.ts';
import { durationMs } from '../records.ts';
import { modeIn } from './proxy-definition.ts';

/** The settings of the dialling side for an upstream. */
export interface ChainContext {
  readonly service: string;
  readonly trustDomain: string;
  readonly decision: ModeDecision;
  /** Connect timeout in milliseconds; takes precedence over the chain's own. */
  readonly connectTimeoutMs?: number;
}

/** Parses a discovery chain that Consul compiled for TCP; `undefined` for another format. */
export function chainOf(json: unknown, context: ChainContext): CompiledChain | undefined {
  const chain = object(object(json)?.['Chain']);
  const targets = object(chain?.['Targets']);
  const start = object(object(chain?.['Nodes'])?.[text(chain?.['StartNode'])]);
  if (chain === undefined || targets === undefined || start === undefined) return undefined;
  const resolver = object(start['Resolver']);
  if (start['Type'] !== 'resolver' || resolver === undefined) return notForTcp(context.service, start);
  const ids = [resolver['Target'], ...list(object(resolver['Failover'])?.['Targets'])].map(text);
  const timeoutMs = context.connectTimeoutMs ?? (resolver['Default'] === true ? undefined : msOf(resolver));
  const [first, ...rest] = ids.map((id) => targetOf(id, object(targets[id]), context, timeoutMs));
  if (first === undefined || [first, ...rest].includes(undefined)) return undefined;
  const others = rest.filter((target) => target !== undefined);
  return { kind: 'compiled', chain: { service: context.service, targets: [first, ...others] } };
}

function notForTcp(service: string, start: JsonObject): CompiledChain {
  const message = `expected a chain that begins with a resolver, found a ${text(start['Type'])}: it is for HTTP`;
  return { kind: 'refused', path: ['discovery-chain', service], message };
}

/** Returns the connect timeout in milliseconds. Consul fills in its default, which equals the proxy's. */
function msOf(resolver: JsonObject): number | undefined {
  const timeoutMs = Math.round(durationMs(resolver['ConnectTimeout']) ?? 0);
  return timeoutMs < 1 ? undefined : timeoutMs;
}

function targetOf(
  id: string,
  target: JsonObject | undefined,
  { trustDomain, decision }: ChainContext,
  connectTimeoutMs: number | undefined,
): ChainTarget | undefined {
  const serverName = text(target?.['SNI']);
  if (target === undefined || (serverName === '' && text(target['Peer']) === '')) return undefined;
  const subset = object(target['Subset']);
  const peer = optionalText(target['Peer']);
  const location = {
    service: text(target['Service']),
    datacenter: text(target['Datacenter']),
    ...defined({
      subset: optionalText(target['ServiceSubset']),
      namespace: notDefault(target['Namespace']),
      partition: notDefault(target['Partition']),
      peer,
    }),
  };
  return {
    ...location,
    id,
    // A peer's instances carry the server name and the identities of its export.
    serverName: peer === undefined ? serverName : '',
    identities: peer === undefined ? [serviceIdentity(location, trustDomain)] : [],
    instances: { filter: text(subset?.['Filter']), onlyPassing: subset?.['OnlyPassing'] === true },
    external: target['External'] === true,
    decision: withChain(decision, target),
    ...defined({ connectTimeoutMs }),
  };
}

/** Applies the chain's own mode, from the defaults of the destination, when the dialling side sets none. */
function withChain(decision: ModeDecision, target: JsonObject): ModeDecision {
  const { mode } = modeIn(target, `the defaults of ${text(target['Service'])}`);
  return decision.kind === 'unset' && mode !== undefined
    ? decideMode([{ scope: 'discovery-chain', ...mode }])
    : decision;
}

function notDefault(name: unknown): string | undefined {
  return name === 'default' ? undefined : optionalText(name);
}
