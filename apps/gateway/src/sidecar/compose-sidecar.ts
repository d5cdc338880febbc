// Composes a sidecar like a gateway, with another handshake with clients and another connector.
import { Admission, firstOf, layered, routeRules, Sessions } from '@meshgate/core/parts';
import { byListener, IdentityStore, sidecarConnector, sidecarParts } from '@meshgate/connect';
import { ADMISSION, CERTIFICATE, composeWith, CONNECTOR, SESSIONS, OUTLIERS } from '../run/compose.ts';
import type { Observer } from '@meshgate/core';
import type { Stages } from '@meshgate/core/parts';
import type { Plan, ComposeContext } from '../run/compose.ts';
import { ADDRESSES, EVENTS, ROUTES } from '../run/composition.ts';
import type { Gateway } from '../run/gateway.ts';
import { bind, one } from '../run/token.ts';
import type { LoadedSidecar, SidecarMaterial } from './load-sidecar.ts';

/** Composes a sidecar. Nothing runs until it is started. */
export function composeSidecar({ config, parts, material }: LoadedSidecar, environment: ComposeContext): Gateway {
  // Without `stateDir`: stored routes are useless without credentials, which are never stored.
  const { stateDir: _never, ...settings } = config;
  return composeWith(settings, parts, environment, (plan) => bindSidecar(plan, material));
}

function bindSidecar(plan: Plan, { proxy, credentials, authorizer, services }: SidecarMaterial): Plan {
  const { c, parts, transport, limits, live } = plan;
  const events = one(c, EVENTS);
  const identity = new IdentityStore({ source: credentials, observer: events });
  const own = sidecarParts({ proxy, identity });
  bind(c, CERTIFICATE, () => identity);
  bind(c, CONNECTOR, () =>
    sidecarConnector({
      addresses: one(c, ADDRESSES),
      outliers: one(c, OUTLIERS),
      observer: events,
      keepAlive: live.keepAlive,
      authorizer: authorizer ?? own.intentions,
      identity,
      limits,
    }),
  );
  bind(c, ADMISSION, () => new Admission(limits));
  const filters = [own.filter];
  const stagesOf = (next: Plan, observer: Observer): Stages => ({
    filtersOf: () => filters,
    sniffer: firstOf([]),
    resolver: byListener(one(c, ROUTES)),
    connector: layered(one(c, CONNECTOR), [routeRules(), ...parts.layers]),
    admission: one(c, ADMISSION),
    observer,
    transport,
    limits: { ...next.limits },
  });
  bind(c, SESSIONS, () => new Sessions(stagesOf(plan, events)));
  const ownServices = [...services, identity, ...parts.services];
  const added = { sources: [own.routes], listenerSources: [own.listeners], services: ownServices };
  return { ...plan, stagesOf, transport: own.transport(transport), parts: { ...parts, ...added } };
}
