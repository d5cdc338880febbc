import { METRICS } from './metrics.ts';

/** A Prometheus alert rule, and test data that makes it fire. */
export interface AlertDefinition {
  /** Name of the alert. */
  readonly alert: string;
  /** The operator's question that it answers. */
  readonly query: string;
  /** PromQL expression; the alert fires for each series of its result. */
  readonly expr: string;
  /** Time for which the expression must hold, in Prometheus' duration format; fires at once when absent. */
  readonly for?: string;
  /** `page` wakes somebody up. */
  readonly severity: 'page' | 'ticket';
  /** What happened; may contain Prometheus templates. */
  readonly summary: string;
  /** What to check next. */
  readonly description: string;
  /** Series that make the alert fire after twenty minutes, for `promtool test rules`: one sample per minute. */
  readonly example: Readonly<Record<string, string>>;
}

const { closed, sourceFailing, sourceWarnings, sourceRoutesDown, refused, listenerPaused, listenerUp } = METRICS;
const { ready, draining, active, connectionsLimit, pendingHellos, pendingHellosLimit, memoryLimit } = METRICS;
const { remoteGateways, remoteGatewaysHealthy } = METRICS;
const {
  pathImpairments,
  certificateExpiry,
  rootExpiry,
  serviceFailures,
  sourceLastSuccess,
  ejected,
  resolutionFailures,
} = METRICS;
// Metrics of the built-in plugin for Consul.
const AGENT_CERTIFICATE = 'meshgate_plugin_consul_agent_certificate_expiry_timestamp_seconds';
const CONSUL_ROOTS = 'meshgate_plugin_consul_root_expiry_timestamp_seconds';
/** Usage of each limit, from 0 to 1. */
const NEARNESS = [
  `sum by (instance) (${active.name}) / sum by (instance) (${connectionsLimit.name})`,
  `sum by (instance) (${pendingHellos.name}) / sum by (instance) (${pendingHellosLimit.name})`,
  'sum by (instance) (process_open_fds) / sum by (instance) (process_max_fds)',
  `sum by (instance) (process_resident_memory_bytes) / sum by (instance) (${memoryLimit.name})`,
];
// A metric of the gateway itself, not of its observer.
const LOG_LINES_DROPPED = 'meshgate_log_lines_dropped_total';

/** Rules for every gateway and sidecar: first symptoms that users notice, then early signs of them. */
export const ALERTS: readonly AlertDefinition[] = [
  {
    alert: 'MeshgateFailures',
    query: 'Do clients get through?',
    expr: `sum by (instance) (rate(${closed.name}{side=~"upstream|proxy"}[5m])) / sum by (instance) (rate(${closed.name}[5m])) > 0.01`,
    for: '10m',
    severity: 'page',
    summary: 'More than 1 % of the connections through {{ $labels.instance }} fail',
    description: `Which: topk(5, sum by (route, code) (rate(${closed.name}{side=~"upstream|proxy"}[5m]))); then meshgate doctor NAME`,
    example: {
      [`${closed.name}{instance="gw",side="upstream",code="CONNECT_REFUSED"}`]: '0+6x30',
      [`${closed.name}{instance="gw",side="none",code="OK"}`]: '0+60x30',
    },
  },
  {
    alert: 'MeshgateRouteDown',
    query: 'Does every name lead somewhere?',
    expr: `${sourceRoutesDown.name} > 0`,
    for: '5m',
    severity: 'page',
    summary: '{{ $value }} routes of {{ $labels.source }} ({{ $labels.kind }}) have no healthy backend',
    description: 'meshgate routes shows which. Of kind remote-datacenter: a datacenter without a gateway',
    example: { [`${sourceRoutesDown.name}{instance="gw",source="consul",kind="remote-datacenter"}`]: '1x30' },
  },
  {
    alert: 'MeshgateNotReady',
    query: 'Is it in service?',
    expr: `max_over_time(${ready.name}[1m]) == 0 unless on (instance) ${draining.name} == 1`,
    for: '5m',
    severity: 'page',
    summary: '{{ $labels.instance }} has not been ready for five minutes',
    description: 'GET /ready says why; then meshgate doctor',
    example: { [`${ready.name}{instance="gw"}`]: '0x30', [`${draining.name}{instance="gw"}`]: '0x30' },
  },
  {
    alert: 'MeshgateRemoteWithoutGateway',
    query: 'Can every datacenter and peer be reached?',
    expr: `${remoteGatewaysHealthy.name} == 0`,
    for: '2m',
    severity: 'page',
    summary: 'No gateway of {{ $labels.remote }} is healthy, as seen by {{ $labels.instance }}',
    description: `How many there are: ${remoteGateways.name}. meshgate doctor dials them`,
    example: { [`${remoteGatewaysHealthy.name}{instance="gw",remote="datacenter dc2"}`]: '0x30' },
  },
  {
    alert: 'MeshgateNearLimit',
    query: 'How long until it is full?',
    expr: NEARNESS.map((ratio) => `(${ratio}) > 0.8`).join(' or '),
    for: '10m',
    severity: 'ticket',
    summary: '{{ $labels.instance }} uses {{ $value | humanizePercentage }} of a limit',
    description: `Which: ${active.name}, ${pendingHellos.name}, process_open_fds or process_resident_memory_bytes`,
    example: {
      [`${active.name}{instance="gw",listener="default",route="api"}`]: '900x30',
      [`${connectionsLimit.name}{instance="gw"}`]: '1000x30',
    },
  },
  {
    alert: 'MeshgateListenerDown',
    query: 'Can clients connect?',
    expr: `${listenerUp.name} == 0`,
    for: '1m',
    severity: 'page',
    summary: 'Listener {{ $labels.listener }} of {{ $labels.instance }} is not bound',
    description: 'GET /listeners and the log say why; meshgate doctor shows which process has the port',
    example: { [`${listenerUp.name}{instance="gw",listener="default"}`]: '0x30' },
  },
  {
    alert: 'MeshgateFull',
    query: 'Is it full?',
    expr: `sum by (instance, listener) (rate(${refused.name}[5m])) > 0 or max by (instance, listener) (max_over_time(${listenerPaused.name}[5m])) == 1`,
    severity: 'page',
    summary: '{{ $labels.instance }} refuses connections of {{ $labels.listener }}',
    description:
      'The code of the refusals names the limit: LIMIT_REACHED, CLIENT_DENIED. Paused: no file descriptors left',
    example: { [`${refused.name}{instance="gw",listener="default",code="LIMIT_REACHED"}`]: '0+1x30' },
  },
  {
    alert: 'MeshgateSourceFailing',
    query: 'Are the routes fresh?',
    expr: `min_over_time(${sourceFailing.name}[5m]) == 1`,
    for: '5m',
    severity: 'ticket',
    summary: '{{ $labels.source }} of {{ $labels.instance }} has been failing; its last routes are in use',
    description: `Since when, in seconds: time() - ${sourceLastSuccess.name}. GET /ready says why`,
    example: { [`${sourceFailing.name}{instance="gw",source="consul"}`]: '1x30' },
  },
  {
    alert: 'MeshgateSourceWarns',
    query: 'Do the sources report problems?',
    expr: `${sourceWarnings.name} > 0`,
    for: '15m',
    severity: 'ticket',
    summary: '{{ $labels.source }} of {{ $labels.instance }} has {{ $value }} warnings',
    description: 'GET /ready and meshgate routes show them',
    example: { [`${sourceWarnings.name}{instance="gw",source="consul"}`]: '2x30' },
  },
  {
    alert: 'MeshgateBackendsEjected',
    query: 'Can every backend be dialled?',
    expr: `${ejected.name} > 0`,
    for: '5m',
    severity: 'ticket',
    summary: '{{ $value }} backend addresses of {{ $labels.instance }} cannot be dialled; others are used',
    description: 'GET /routes shows which. Ejected addresses are retried automatically',
    example: { [`${ejected.name}{instance="gw"}`]: '1x30' },
  },
  {
    alert: 'MeshgateNamesFail',
    query: 'Do backend names resolve?',
    expr: `sum by (instance) (rate(${resolutionFailures.name}[5m])) > 0`,
    for: '10m',
    severity: 'ticket',
    summary: 'Backend names do not resolve at {{ $labels.instance }}',
    description: 'Their last addresses stay in use, if any. GET /ready says which names',
    example: { [`${resolutionFailures.name}{instance="gw",last_good="true"}`]: '0+1x30' },
  },
  {
    alert: 'MeshgatePathImpaired',
    query: 'Do the networks deliver every packet?',
    expr: `sum by (instance, problem, side) (rate(${pathImpairments.name}[10m])) > 0`,
    severity: 'ticket',
    summary: 'The network of {{ $labels.instance }} loses packets ({{ $labels.problem }}, {{ $labels.side }})',
    description:
      'The log names addresses and the probable cause: an MTU black hole, or a network that drops IPv4 or IPv6',
    example: { [`${pathImpairments.name}{instance="gw",problem="large-segments",side="upstream"}`]: '0+1x30' },
  },
  {
    alert: 'MeshgateLogLost',
    query: 'Is everything logged?',
    expr: `rate(${LOG_LINES_DROPPED}[5m]) > 0`,
    severity: 'ticket',
    summary: '{{ $labels.instance }} drops log lines',
    description: 'The disk is full, or the reader of the log has stalled. Traffic is not affected',
    example: { [`${LOG_LINES_DROPPED}{instance="gw"}`]: '0+1x30' },
  },
  {
    alert: 'MeshgateCertificateNotRenewed',
    query: 'Is the certificate renewed in time?',
    // Consul agents renew a certificate of three days when at least seven hours are left.
    expr: `${certificateExpiry.name} - time() < 6 * 3600`,
    severity: 'page',
    summary: '{{ $labels.instance }} has a certificate that is not being renewed',
    description: 'Peers reject it in {{ $value | humanizeDuration }}. GET /ready says why it is not renewed',
    example: { [`${certificateExpiry.name}{instance="sidecar",source="consul"}`]: '3600x30' },
  },
  {
    alert: 'MeshgateAgentCertificateExpires',
    query: 'Are the certificates between gateway and Consul agent valid?',
    expr: `${AGENT_CERTIFICATE} - time() < 7 * 86400`,
    severity: 'ticket',
    summary: 'The certificate ({{ $labels.certificate }}) between {{ $labels.instance }} and its Consul agent expires',
    description:
      'In {{ $value | humanizeDuration }}. agent: the one that it presents; client: ours. Routes are not updated afterwards',
    example: { [`${AGENT_CERTIFICATE}{instance="gw",certificate="agent"}`]: '86400x30' },
  },
  {
    alert: 'MeshgateRootsExpire',
    query: 'Are the CA roots of cluster and peers still valid?',
    // Replacing the CA of a cluster, and publishing it to every peer, takes longer than renewing a certificate.
    expr: `${rootExpiry.name} - time() < 30 * 86400 or ${CONSUL_ROOTS} - time() < 30 * 86400`,
    severity: 'ticket',
    summary: 'The last root of {{ $labels.authority }} that {{ $labels.instance }} knows expires',
    description:
      'In {{ $value | humanizeDuration }}, after which its certificates are rejected. mesh: rotate the CA of this cluster; peer: it must rotate its own',
    example: { [`${CONSUL_ROOTS}{instance="gw",authority="peer beta"}`]: '86400x30' },
  },
  {
    alert: 'MeshgateServiceFailed',
    query: 'Are all services running?',
    expr: `increase(${serviceFailures.name}[10m]) > 0`,
    severity: 'ticket',
    summary: 'Service {{ $labels.service }} of {{ $labels.instance }} has failed',
    description: 'The log says why. service="process": an uncaught exception, most likely of a plugin',
    example: { [`${serviceFailures.name}{instance="gw",service="process"}`]: '0+1x30' },
  },
];
