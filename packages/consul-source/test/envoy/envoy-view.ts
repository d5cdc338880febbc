import { connect } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import type { Endpoint } from '@meshgate/core';
import { encoded, Message } from './protobuf.ts';

/** The destination of a server name, as Consul configures it in Envoy. */
export interface EnvoyRoute {
  readonly connectTimeoutMs: number;
  readonly backends: readonly { readonly address: Endpoint; readonly weight: number; readonly healthy: boolean }[];
  /** Of several addresses that are host names, Consul sends only one. */
  readonly byName: boolean;
}

/** The configuration of an Envoy that runs as this gateway, from Consul's own gRPC server (ADS, API v2). */
export class EnvoyView implements Disposable {
  readonly #session: ClientHttp2Session;
  readonly #stream: ClientHttp2Stream;
  readonly #gateway: string;
  readonly #observed = new Map<string, readonly Message[]>();
  #unread = Buffer.alloc(0);

  constructor(grpc: string, gateway: string) {
    this.#gateway = gateway;
    this.#session = connect(grpc);
    this.#stream = this.#session.request({
      ':method': 'POST',
      ':path': '/envoy.service.discovery.v2.AggregatedDiscoveryService/StreamAggregatedResources',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    this.#stream.on('data', (chunk: Buffer) => this.#read(chunk));
    // The comparison detects that no more responses arrive.
    for (const emitter of [this.#session, this.#stream]) emitter.on('error', () => undefined);
    for (const type of [CLUSTER, LISTENER]) this.#query(type, []);
  }

  /** By server name, as written; patterns as `*.suffix`. */
  get routes(): ReadonlyMap<string, EnvoyRoute> {
    const endpoints = new Map(this.#resources(ENDPOINTS).map((assignment) => [assignment.text(1), assignment]));
    const clusters = this.#resources(CLUSTER).map((cluster) => {
      const assignment = endpoints.get(cluster.text(1));
      return [cluster.text(1), routeOf(cluster, cluster.has(33) ? cluster.message(33) : assignment)] as const;
    });
    // Without a filter chain of its own, a server name is a cluster name.
    const exact = new Map(clusters);
    const patterns = this.#resources(LISTENER)
      .flatMap((listener) => listener.messages(3).flatMap((chain) => chain.message(1).strings(11)))
      .filter((name) => name.startsWith('*.'));
    return new Map([...exact, ...patterns.flatMap((name) => entry(name, exact.get(name.slice(2))))]);
  }

  /** Consul never reports that the last one has been removed. */
  get listeners(): readonly Endpoint[] {
    return this.#resources(LISTENER).map((listener) => endpointOf(listener.message(2)));
  }

  [Symbol.dispose](): void {
    this.#stream.close();
    this.#session.destroy();
  }

  #resources(type: string): readonly Message[] {
    return this.#observed.get(type) ?? [];
  }

  #read(chunk: Buffer): void {
    this.#unread = Buffer.concat([this.#unread, chunk]);
    while (this.#unread.length >= FRAME_HEADER_BYTES) {
      const end = FRAME_HEADER_BYTES + this.#unread.readUInt32BE(1);
      if (this.#unread.length < end) return;
      this.#take(new Message(this.#unread.subarray(FRAME_HEADER_BYTES, end)));
      this.#unread = this.#unread.subarray(end);
    }
  }

  #take(response: Message): void {
    const type = response.text(4);
    const isFirst = !this.#observed.has(type);
    const resources = response.messages(2).map((any) => any.message(2));
    this.#observed.set(type, resources);
    this.#query(type, [encoded(1, response.text(1)), encoded(5, response.text(5))]);
    if (type === CLUSTER && isFirst)
      this.#query(
        ENDPOINTS,
        resources.map((cluster) => encoded(3, cluster.text(1))),
      );
  }

  #query(type: string, details: readonly Buffer[]): void {
    const node = Buffer.concat([encoded(1, this.#gateway), encoded(2, this.#gateway)]);
    const request = Buffer.concat([encoded(2, node), encoded(4, type), ...details]);
    const header = Buffer.alloc(FRAME_HEADER_BYTES);
    header.writeUInt32BE(request.length, 1);
    this.#stream.write(Buffer.concat([header, request]));
  }
}

const CLUSTER = 'type.googleapis.com/envoy.api.v2.Cluster';
const ENDPOINTS = 'type.googleapis.com/envoy.api.v2.ClusterLoadAssignment';
const LISTENER = 'type.googleapis.com/envoy.api.v2.Listener';
// gRPC framing: the compression flag and the message length.
const FRAME_HEADER_BYTES = 5;
// Envoy's enum values: a cluster of type EDS, and an endpoint that is not healthy.
const EDS = 3;
const UNHEALTHY = 2;

function entry(name: string, route: EnvoyRoute | undefined): readonly (readonly [string, EnvoyRoute])[] {
  return route === undefined ? [] : [[name, route]];
}

function routeOf(cluster: Message, assignment: Message | undefined): EnvoyRoute {
  const timeout = cluster.message(4);
  const endpoints = assignment?.messages(2).flatMap((locality) => locality.messages(2)) ?? [];
  return {
    connectTimeoutMs: timeout.number(1) * 1_000 + timeout.number(2) / 1_000_000,
    backends: endpoints.map((endpoint) => ({
      address: endpointOf(endpoint.message(1).message(1)),
      weight: endpoint.has(4) ? endpoint.message(4).number(1) : 1,
      healthy: endpoint.number(2) !== UNHEALTHY,
    })),
    byName: cluster.number(2) !== EDS,
  };
}

function endpointOf(address: Message): Endpoint {
  const socket = address.message(1);
  return { host: socket.text(2), port: socket.number(3) };
}
