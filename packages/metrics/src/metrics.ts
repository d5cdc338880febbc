/**
 * Every label, with the bound on the number of its values. No label contains client input, neither addresses nor server
 * names, so that clients cannot exhaust the scraper's memory.
 */
export const LABELS = {
  listener: 'the listeners, as configuration or the listener sources name them',
  route: 'the routes in use; empty for a connection that reached no route, or whose route has been removed since',
  code: 'the error codes of `@meshgate/core`, a closed list; `OK` when both sides finished normally',
  side: '`downstream`, `upstream` or `proxy`: the side at fault; `none` for `OK`',
  direction: '`up`: from the client to the backend; `down`: the other way',
  authority: 'this cluster and its peers: `mesh`, `peer beta`',
  source: "the sources of the configuration: route sources, and the source of the proxy's own certificate",
  kind: 'the kinds of routes of a source, a short list; empty when it has none',
  service: 'the services of the daemon, its own and those of plugins',
  observer: 'the observers of the configuration',
  last_good: '`true`: the last addresses stay in use; `false`: there are none, and dials fail',
  version: 'one value: the running version',
  result: '`passed` or `failed`',
  problem: '`family`: IPv4 or IPv6 does not respond; `large-segments`: packets of full size are lost',
  node: 'one value: the running Node.js version',
  remote: 'the datacenters and peers that the sources know: `datacenter dc2`, `peer beta`',
} as const;

/** The name of a label. */
export type Label = keyof typeof LABELS;

/** One row of {@link METRICS}. */
export interface MetricDefinition {
  /**
   * Type as in `# TYPE`: a counter only increases, a gauge goes up and down, a histogram counts durations in buckets.
   */
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** Name in Prometheus: counters end in `_total`, other metrics in their unit, if they have one. */
  readonly name: string;
  /** One sentence without a full stop, by convention. */
  readonly help: string;
  /** Labels in the order in which values are given. */
  readonly labels: readonly Label[];
  /** Upper bounds of a histogram's buckets, in seconds. */
  readonly buckets?: readonly number[];
}

/** Every metric of the proxy, each a {@link MetricDefinition}: the single list that code and documentation use. */
export const METRICS = {
  accepted: {
    type: 'counter',
    name: 'meshgate_connections_accepted_total',
    help: 'Connections accepted',
    labels: ['listener'],
  },
  refused: {
    type: 'counter',
    name: 'meshgate_connections_refused_total',
    help: 'Connections refused at accept, which count as neither accepted nor closed',
    labels: ['listener', 'code'],
  },
  active: {
    type: 'gauge',
    name: 'meshgate_connections_active',
    help: 'Connections accepted and not yet closed',
    labels: ['listener', 'route'],
  },
  retries: {
    type: 'counter',
    name: 'meshgate_connection_retries_total',
    help: 'Retries on another backend after one closed before its first byte',
    labels: ['route'],
  },
  closed: {
    type: 'counter',
    name: 'meshgate_connections_closed_total',
    help: 'Connections closed',
    labels: ['listener', 'route', 'code', 'side'],
  },
  bytes: {
    type: 'counter',
    name: 'meshgate_bytes_total',
    help: 'Bytes carried, including those of live connections',
    labels: ['route', 'direction'],
  },
  helloSeconds: {
    type: 'histogram',
    name: 'meshgate_hello_duration_seconds',
    help: 'From accept to a complete ClientHello',
    labels: ['listener'],
    // A ClientHello follows the TCP handshake by about one round trip: 1 ms within a rack, 0.25 s from the other side
    // of the planet. Slower clients lose packets, or are slow on purpose; the default limit is 10 s.
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 3, 10],
  },
  hellosRepeated: {
    type: 'counter',
    name: 'meshgate_hellos_repeated_total',
    help: 'Repeated ClientHellos: a loop through other gateways, a retry by a proxy in front, or a replay',
    labels: ['listener'],
  },
  connectSeconds: {
    type: 'histogram',
    name: 'meshgate_connect_duration_seconds',
    help: 'From the ClientHello to an established backend connection, all attempts together',
    labels: ['route'],
    // Well below 1 ms within a datacenter. 1 s and 3 s are the first two retransmissions of a lost SYN (RFC 6298), 5 s
    // is the default limit.
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 3, 5],
  },
  firstByteSeconds: {
    type: 'histogram',
    name: 'meshgate_first_byte_duration_seconds',
    help: 'From the established backend connection to the first byte of the backend',
    labels: ['route'],
    // The backend answers a ClientHello with its certificate: one round trip and one signature. A longer time means a
    // loaded backend.
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 3, 10],
  },
  lifetimeSeconds: {
    type: 'histogram',
    name: 'meshgate_connection_duration_seconds',
    help: 'From accept to close',
    labels: ['route'],
    // One request, a keep-alive connection, a session, a day: powers of ten distinguish them; 3600 s is the default
    // idle limit.
    buckets: [0.01, 0.1, 1, 10, 60, 600, 3600, 86400],
  },
  dialFailures: {
    type: 'counter',
    name: 'meshgate_dial_failures_total',
    help: 'Dials that failed; the connection may still have reached another backend',
    labels: ['route', 'code'],
  },
  ejections: {
    type: 'counter',
    name: 'meshgate_backend_ejections_total',
    help: 'Backend addresses ejected after consecutive dial failures',
    labels: [],
  },
  ejected: {
    type: 'gauge',
    name: 'meshgate_backends_ejected',
    help: 'Backend addresses currently ejected',
    labels: [],
  },
  healthChecks: {
    type: 'counter',
    name: 'meshgate_health_checks_total',
    help: 'Health checks of backend addresses',
    labels: ['result'],
  },
  down: {
    type: 'gauge',
    name: 'meshgate_backends_down',
    help: 'Backend addresses that are down according to their health checks',
    labels: [],
  },
  failovers: {
    type: 'counter',
    name: 'meshgate_route_failovers_total',
    help: 'Changes of the priority group of routes with failover',
    labels: [],
  },
  balanceFailures: {
    type: 'counter',
    name: 'meshgate_balance_failures_total',
    help: "Random choices of a backend because a plugin's balance failed",
    labels: [],
  },
  pathImpairments: {
    type: 'counter',
    name: 'meshgate_path_impairments_total',
    help: 'Times that the network path to a backend or client was found to lose packets',
    labels: ['problem', 'side'],
  },
  resolutionFailures: {
    type: 'counter',
    name: 'meshgate_resolution_failures_total',
    help: 'Failed name lookups of backends',
    labels: ['last_good'],
  },
  listenerUp: {
    type: 'gauge',
    name: 'meshgate_listener_up',
    help: '1 while the listener is bound, 0 when it could not bind or is closed',
    labels: ['listener'],
  },
  listenerPaused: {
    type: 'gauge',
    name: 'meshgate_listener_paused',
    help: '1 while accept is paused, for lack of file descriptors',
    labels: ['listener'],
  },
  listenerFailures: {
    type: 'counter',
    name: 'meshgate_listener_failures_total',
    help: 'Failed attempts to bind',
    labels: ['listener'],
  },
  sourceRoutes: {
    type: 'gauge',
    name: 'meshgate_source_routes',
    help: 'Routes in the current snapshot of the source',
    labels: ['source', 'kind'],
  },
  sourceRoutesDown: {
    type: 'gauge',
    name: 'meshgate_source_routes_down',
    help: 'Routes in the current snapshot of the source without a healthy backend, as the source reports their health',
    labels: ['source', 'kind'],
  },
  sourceServerNames: {
    type: 'gauge',
    name: 'meshgate_source_server_names',
    help: 'Server names in the current snapshot of the source',
    labels: ['source'],
  },
  sourceWarnings: {
    type: 'gauge',
    name: 'meshgate_source_warnings',
    help: 'Current warnings of the source',
    labels: ['source'],
  },
  sourceLastSuccess: {
    type: 'gauge',
    name: 'meshgate_source_last_success_timestamp_seconds',
    help: 'When the current snapshot was last confirmed (Unix time)',
    labels: ['source'],
  },
  sourceFailing: {
    type: 'gauge',
    name: 'meshgate_source_failing',
    help: '1 while the source fails; its last snapshot stays in use',
    labels: ['source'],
  },
  sourceFailures: {
    type: 'counter',
    name: 'meshgate_source_failures_total',
    help: 'Failures of the source, and refused snapshots',
    labels: ['source'],
  },
  snapshots: {
    type: 'counter',
    name: 'meshgate_source_snapshots_total',
    help: 'Snapshots applied',
    labels: ['source'],
  },
  snapshotSeconds: {
    type: 'histogram',
    name: 'meshgate_routes_replace_duration_seconds',
    help: 'Time to apply a snapshot',
    labels: [],
    // The table swap may block the event loop for 50 ms at most, with 100,000 routes.
    buckets: [0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 1],
  },
  certificateExpiry: {
    type: 'gauge',
    name: 'meshgate_certificate_expiry_timestamp_seconds',
    help: 'When the certificate of this proxy expires (Unix time); only for a proxy that has one',
    labels: ['source'],
  },
  rootExpiry: {
    type: 'gauge',
    name: 'meshgate_root_expiry_timestamp_seconds',
    help: 'When the last root that peers are verified with expires (Unix time); only for a proxy that verifies certificates',
    labels: ['source', 'authority'],
  },
  ready: {
    type: 'gauge',
    name: 'meshgate_ready',
    help: '1 while GET /ready returns 200, 0 while it returns 503',
    labels: [],
  },
  routeBackends: {
    type: 'gauge',
    name: 'meshgate_route_backends',
    help: 'Backends of the route',
    labels: ['route'],
  },
  routeBackendsHealthy: {
    type: 'gauge',
    name: 'meshgate_route_backends_healthy',
    help: 'Backends of the route that are healthy according to its source and its health checks',
    labels: ['route'],
  },
  remoteGateways: {
    type: 'gauge',
    name: 'meshgate_remote_gateways',
    help: 'Gateways of a remote datacenter or a peer',
    labels: ['remote'],
  },
  remoteGatewaysHealthy: {
    type: 'gauge',
    name: 'meshgate_remote_gateways_healthy',
    help: 'Gateways of a remote datacenter or a peer that are healthy according to the source',
    labels: ['remote'],
  },
  connectionsLimit: {
    type: 'gauge',
    name: 'meshgate_connections_limit',
    help: 'Limit of concurrent connections, over all processes',
    labels: [],
  },
  pendingHellos: {
    type: 'gauge',
    name: 'meshgate_pending_hellos',
    help: 'Connections without a complete ClientHello',
    labels: [],
  },
  pendingHellosLimit: {
    type: 'gauge',
    name: 'meshgate_pending_hellos_limit',
    help: 'Limit of connections without a complete ClientHello; the oldest is closed for a new one',
    labels: [],
  },
  memoryLimit: {
    type: 'gauge',
    name: 'meshgate_memory_limit_bytes',
    help: 'Memory limit of all processes: that of the machine or of the control group',
    labels: [],
  },
  pipes: {
    type: 'gauge',
    name: 'meshgate_pipes',
    help: 'Pipes of the transport, which buffer bytes for slow receivers',
    labels: [],
  },
  pipesLimit: {
    type: 'gauge',
    name: 'meshgate_pipes_limit',
    help: "Limit of the transport's pipes; beyond it bytes are copied",
    labels: [],
  },
  draining: {
    type: 'gauge',
    name: 'meshgate_draining',
    help: '1 from the start of the drain',
    labels: [],
  },
  serviceFailures: {
    type: 'counter',
    name: 'meshgate_service_failures_total',
    help: 'Failures of services; service="process" are uncaught exceptions and rejections, at most one a second',
    labels: ['service'],
  },
  observerFailures: {
    type: 'counter',
    name: 'meshgate_observer_failures_total',
    help: 'Distinct errors thrown by an observer',
    labels: ['observer'],
  },
  build: {
    type: 'gauge',
    name: 'meshgate_build_info',
    help: '1; the labels have the versions',
    labels: ['version', 'node'],
  },
} as const;
