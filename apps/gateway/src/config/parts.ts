import type {
  Connector,
  Layer,
  ListenerSource,
  Observer,
  PluginHost,
  Resolver,
  RouteSource,
  Service,
  Sniffer,
  Transport,
} from '@meshgate/core';

/** What plugins have added, each list in the order of addition. */
export interface Parts {
  readonly sources: readonly RouteSource[];
  readonly listenerSources: readonly ListenerSource[];
  readonly sniffers: readonly Sniffer[];
  readonly resolvers: readonly Resolver[];
  readonly observers: readonly Observer[];
  readonly services: readonly Service[];
  readonly transports: readonly Transport[];
  readonly layers: readonly Layer<Connector>[];
}

/** A host that gathers what plugins add, until it is asked for it. */
export interface GatheringHost extends PluginHost {
  readonly parts: Parts;
}

/** @param baseDir folder of the configuration file */
export function gatheringHost(baseDir: string): GatheringHost {
  const sources: RouteSource[] = [];
  const listenerSources: ListenerSource[] = [];
  const sniffers: Sniffer[] = [];
  const resolvers: Resolver[] = [];
  const observers: Observer[] = [];
  const services: Service[] = [];
  const transports: Transport[] = [];
  const layers: Layer<Connector>[] = [];
  return {
    baseDir,
    parts: { sources, listenerSources, sniffers, resolvers, observers, services, transports, layers },
    addSource: (source) => void sources.push(source),
    addListenerSource: (source) => void listenerSources.push(source),
    addSniffer: (sniffer) => void sniffers.push(sniffer),
    addResolver: (resolver) => void resolvers.push(resolver),
    addObserver: (observer) => void observers.push(observer),
    addService: (service) => void services.push(service),
    addTransport: (transport) => void transports.push(transport),
    wrapConnector: (layer) => void layers.push(layer),
  };
}
