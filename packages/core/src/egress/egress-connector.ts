import { ProxyError } from '../errors.ts';
import { addressSet } from '../pipeline/address-set.ts';
import type { AddressSet } from '../pipeline/address-set.ts';
import { AddressBook } from '../names/address-book.ts';
import { balancedConnector } from '../pipeline/connect.ts';
import type { BalancedConnector, ConnectorOptions } from '../pipeline/connect.ts';
import type { Upstream } from '../pipeline/connection.ts';
import { withDial } from '../pipeline/stages.ts';
import { failedDial } from '../transport/dial-failure.ts';
import type { ConnectContext } from '../pipeline/stages.ts';
import { memoized } from '../memo.ts';
import type { Route } from '../routes/route.ts';
import { refusedAddress } from './address-policy.ts';

/** Dependencies of {@link egressConnector}. */
export interface EgressOptions extends Omit<
  ConnectorOptions,
  'addresses' | 'balances' | 'prefer' | 'health' | 'failover'
> {
  /** Resolves names; the system's resolver when absent. */
  readonly addresses?: AddressBook;
}

/** Bounds the cache: clients choose the names, within what their routes allow. */
const MAX_NAMES = 10_000;
const NO_OBSERVER = { observe: () => undefined };

/**
 * Adds egress to `inner`: routes with `egress` lead to the server name that the client requests, resolved by the name
 * system. Each address is checked when it is dialled, so that a name whose addresses change between two lookups (DNS
 * rebinding) gains nothing.
 */
export function egressConnector(inner: BalancedConnector, options: EgressOptions): BalancedConnector {
  let outward: BalancedConnector | undefined;
  const allowedBy = memoized(({ egress }: Route) => addressSet(egress?.allowAddresses ?? []));
  return { connect };

  function connect(route: Route, context: ConnectContext, withinMs?: number): Promise<Upstream> {
    const { egress } = route;
    if (egress === undefined) return inner.connect(route, context, withinMs);
    const { serverName } = context.hello;
    if (serverName === undefined) return Promise.reject(new ProxyError('NO_SERVER_NAME', 'egress needs a server name'));
    if (!isAllowedName(serverName, route.serverNames)) return Promise.reject(refused(`${serverName} is not allowed`));
    outward ??= outwardOf(options);
    // The trailing dot excludes search domains.
    const address = { host: `${serverName}.`, port: egress.port };
    const { egress: _followed, ...rest } = route;
    const towards: Route = { ...rest, backends: [{ address, weight: 1, healthy: true }] };
    return outward.connect(towards, judged(context, towards, allowedBy(route)), withinMs);
  }

  /** A refused address counts as a failed dial, so that metrics and the log include it. */
  function judged(context: ConnectContext, route: Route, networks: AddressSet): ConnectContext {
    return withDial(context, (backend, address, dialOptions) => {
      const what = refusedAddress(address.host, networks);
      if (what === undefined) return context.dial(backend, address, dialOptions);
      const error = refused(`${backend.address.host.slice(0, -1)} has the address ${address.host}: ${what}`);
      const { connection } = context;
      options.observer.observe({ type: 'dial.failed', connection, route, address, error });
      return failedDial(error);
    });
  }
}

/** Failed lookups emit no events: clients could flood the log with names. */
function outwardOf(options: EgressOptions): BalancedConnector {
  const { addresses = new AddressBook(NO_OBSERVER, undefined, MAX_NAMES), ...rest } = options;
  return balancedConnector({ ...rest, addresses });
}

/**
 * Whether a server name is an allowed name, or below an allowed suffix; `*` does not count. Checked here again,
 * regardless of the resolver.
 */
export function isAllowedName(serverName: string, allowed: readonly string[]): boolean {
  if (!HOST_NAME.test(serverName) || NUMBER_AT_END.test(serverName)) return false;
  return allowed.some((one) => (one.startsWith('*.') ? serverName.endsWith(one.slice(1)) : one === serverName));
}

const HOST_NAME = /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/;
/** Numbers that system libraries parse as IPv4 addresses: 2130706433, 0x7f000001, 127.1 (inet_aton(3)). */
const NUMBER_AT_END = /(?:^|\.)(?:\d+|0x[\da-f]*)$/;

function refused(why: string): ProxyError {
  return new ProxyError('REFUSED_BY_POLICY', `egress refused: ${why}`);
}
