import type { AlertName } from './alerts.ts';

/** An injected cause, as in the first column of docs/troubleshooting.md, and the alert that it triggers. */
export interface Cause {
  readonly cause: string;
  /** Absent if there is none, since it needs no immediate action. */
  readonly alert?: AlertName;
}

/** Every cause that the suite injects: the names of the tests, and the rows of the page. */
export const CAUSES = {
  agentCuts: { cause: 'the agent resets every connection', alert: 'MeshgateSourceFailing' },
  agentBreaksOff: { cause: 'the agent breaks off in the middle of its responses', alert: 'MeshgateSourceFailing' },
  noLeader: { cause: 'the Consul servers have no leader', alert: 'MeshgateSourceFailing' },
  tokenDeleted: { cause: 'the ACL token is deleted', alert: 'MeshgateSourceFailing' },
  nodeReadLost: { cause: 'the token loses node:read', alert: 'MeshgateSourceWarns' },
  oneQueryDenied: { cause: 'the token lacks one permission', alert: 'MeshgateSourceWarns' },
  overload: { cause: 'the agent responds with 429', alert: 'MeshgateSourceWarns' },
  garbage: { cause: 'something other than Consul responds', alert: 'MeshgateSourceFailing' },
  agentSilent: { cause: 'the agent accepts and never responds', alert: 'MeshgateSourceFailing' },
  brokenRouteFile: { cause: 'a route file is broken', alert: 'MeshgateSourceWarns' },
  deletedRouteFile: { cause: 'a route file is deleted', alert: 'MeshgateSourceWarns' },
  brokenFileInFolder: { cause: 'one file of a folder of route files is broken', alert: 'MeshgateSourceWarns' },
  brokenMeshFile: { cause: 'a mesh file is broken', alert: 'MeshgateSourceWarns' },
  deepMeshFile: { cause: 'a mesh file is nested 5,000 deep', alert: 'MeshgateSourceWarns' },
  stateDirGone: { cause: 'the state folder is deleted, and cannot be made again', alert: 'MeshgateSourceWarns' },
  stateDirFull: { cause: 'the disk of the state folder is full', alert: 'MeshgateSourceWarns' },
  allBackendsRefuse: { cause: 'no backend of a route runs', alert: 'MeshgateFailures' },
  backendSilent: { cause: 'a firewall drops packets to a backend', alert: 'MeshgateFailures' },
  backendResets: { cause: 'the next hop turns connections away', alert: 'MeshgateFailures' },
  loop: { cause: 'a route leads back to the gateway itself', alert: 'MeshgateFailures' },
  portsUsedUp: { cause: 'the local ports are used up', alert: 'MeshgateFailures' },
  noRoute: { cause: 'there is no network route to a backend', alert: 'MeshgateFailures' },
  ipv6Swallows: { cause: 'the network drops IPv6, and IPv4 works', alert: 'MeshgatePathImpaired' },
  gatewayHangs: { cause: 'a remote gateway hangs', alert: 'MeshgateFailures' },
  mtuBlackHole: { cause: 'an MTU black hole', alert: 'MeshgatePathImpaired' },
  nameServerFails: { cause: 'the name servers return SERVFAIL', alert: 'MeshgateNamesFail' },
  nameServerSilent: { cause: 'the name servers do not respond', alert: 'MeshgateNamesFail' },
  nameGone: { cause: 'the name of a backend does not exist', alert: 'MeshgateNamesFail' },
  portInUse: { cause: 'another process holds the port of a listener', alert: 'MeshgateListenerDown' },
  addressNotOurs: { cause: 'the address of a listener is not one of this host', alert: 'MeshgateListenerDown' },
  silentClients: { cause: 'one client holds silent connections' },
  garbageClients: { cause: 'scanners and health checks without TLS' },
  noDescriptors: { cause: 'the process has no file descriptors left', alert: 'MeshgateFull' },
  adminCrowd: { cause: 'silent connections to the admin port' },
  signals: { cause: 'signals that mean something to other programs' },
  configBroken: { cause: 'the configuration file is broken at a reload' },
  observerThrows: { cause: 'an observer of a plugin throws' },
  workerKilled: { cause: 'a worker is killed', alert: 'MeshgateServiceFailed' },
  logFull: { cause: 'the disk of the log is full', alert: 'MeshgateLogLost' },
  logReaderStalls: { cause: 'the reader of the log has stalled', alert: 'MeshgateLogLost' },
  consulKilled: { cause: 'the Consul server is killed', alert: 'MeshgateSourceFailing' },
  consulFrozen: { cause: 'the Consul server is stopped and continued' },
} as const satisfies Readonly<Record<string, Cause>>;

/** Name of a cause. */
export type CauseName = keyof typeof CAUSES;
