import type { Logger } from 'pino';

/** A message of the log, of level `info` or above, and what docs/operate/logs.md says of it. */
export interface Message {
  readonly level: 'info' | 'warn' | 'error' | 'fatal';
  /** With the names of its values in braces. */
  readonly text: string;
  /** What has happened. */
  readonly meaning: string;
  /** What to do about it. */
  readonly action: string;
}

/** Every message of level `info` and above: a closed list, each a {@link Message}. The access log is apart. */
export const MESSAGES = {
  started: {
    level: 'info',
    text: 'started',
    meaning: 'The process runs and its admin API answers; `maxConnections` and `maxPendingHandshakes` are its limits.',
    action: 'Nothing.',
  },
  ready: {
    level: 'info',
    text: 'ready',
    meaning: '`/ready` answers 200: it listens and knows its routes. Also when it has become ready again.',
    action: 'Scripts wait for this line.',
  },
  notReady: {
    level: 'warn',
    text: 'not ready: {reasons}',
    meaning: '`/ready` answers 503, for these reasons.',
    action: 'See the reasons: a source without a snapshot, a listener that cannot bind, an expired certificate.',
  },
  transportUnavailable: {
    level: 'info',
    text: 'transport {transport} unavailable, using {used}: {reason}',
    meaning: 'A transport that `auto` prefers does not work on this machine; in most containers `uring` does not.',
    action: 'Nothing, or mend the reason. Naming the transport in use silences it.',
  },
  fileAwaited: {
    level: 'warn',
    text: 'waiting for a file: {problem}',
    meaning:
      'A token or certificate that the configuration names cannot be used yet. It is tried again, and `/ready` says why.',
    action: 'Nothing, if somebody writes it, such as an agent of Vault; else write it.',
  },
  coreDumpsPossible: {
    level: 'warn',
    text: 'core dumps cannot be turned off: {reason}',
    meaning:
      'A crash may leave a file with everything that the process knows: the key of a sidecar, the token of the agent.',
    action: 'Set `LimitCORE=0` in the unit, or `--ulimit core=0` of the container.',
  },
  noDrainDelay: {
    level: 'warn',
    text: 'drain.delay is 0 in a pod: connections are refused at the start of each drain',
    meaning:
      'A pod gets SIGTERM in the moment in which it is removed from its endpoints, and connections still come for some seconds.',
    action: 'Set `drain.delay: 5s`, and a longer `terminationGracePeriodSeconds`.',
  },
  cannotStart: {
    level: 'fatal',
    text: 'cannot start: {reason}',
    meaning: 'A part failed to start; the process exits with status 1.',
    action: 'Mend the reason, such as a port in use.',
  },
  uncaughtException: {
    level: 'fatal',
    text: 'uncaught exception, draining before exit',
    meaning: 'A bug of Meshgate or of a plugin. Connections may finish, then the process exits with status 1.',
    action: 'Report it with the line `service failed` before it, which has the stack.',
  },
  shutdownIncomplete: {
    level: 'error',
    text: 'shutdown incomplete: {reason}',
    meaning: 'A service did not stop, or not in time; the process exits with status 1.',
    action: 'Look at the service named; a registration may be left behind in Consul.',
  },
  primaryGone: {
    level: 'error',
    text: 'primary process gone, draining',
    meaning: 'The primary was killed. Workers let their connections finish and exit.',
    action: 'Find out who killed it: the kernel for want of memory, perhaps.',
  },
  reloading: {
    level: 'info',
    text: 'reloading',
    meaning: 'SIGHUP or `POST /reload`: the gateway reads its configuration and route files again.',
    action: 'Nothing.',
  },
  reloaded: {
    level: 'info',
    text: 'reloaded: {changes}',
    meaning: 'The configuration as it is on disk now is in use.',
    action: 'Nothing.',
  },
  restartNeeded: {
    level: 'warn',
    text: 'changed settings need a restart: {settings}',
    meaning: 'A reload has put everything else into use; these stay as they were.',
    action: '`meshgate upgrade`, which drops no connection.',
  },
  reloadRefused: {
    level: 'error',
    text: 'reload refused, nothing has changed: {problem}',
    meaning: 'The configuration on disk is wrong, or an address or a source of it cannot be used.',
    action: 'Mend the problem, and reload again.',
  },
  upgradeStarted: {
    level: 'info',
    text: 'starting a successor',
    meaning: 'SIGUSR2, `POST /upgrade` or `meshgate upgrade`: a new process is started from what is on disk now.',
    action: 'Nothing.',
  },
  handedOver: {
    level: 'info',
    text: 'successor is ready, draining',
    meaning: 'The process `successor` accepts connections on the same sockets; this one lets its own finish.',
    action: 'Nothing.',
  },
  upgradeFailed: {
    level: 'error',
    text: 'no successor, going on as before: {reason}',
    meaning: 'The new process ended, or was not ready in time.',
    action: 'See the reason, and the lines that the new process has written.',
  },
  serviceManagerUnreachable: {
    level: 'warn',
    text: 'service manager cannot be notified: {reason}',
    meaning:
      '`NOTIFY_SOCKET` is set, and the system calls for it are not available: systemd never hears that the service is ready.',
    action: 'Where koffi has no binary: `Type=exec` in place of `Type=notify`, and no `WatchdogSec`.',
  },
  linesDropped: {
    level: 'warn',
    text: '{dropped} log lines dropped: {reason}',
    meaning: 'The log could not be written for a while; it is written again.',
    action: 'Make room on the disk, or see to the reader of the log.',
  },
  listening: {
    level: 'info',
    text: 'listening on {address}',
    meaning: 'A listener is bound.',
    action: 'Nothing.',
  },
  cannotListen: {
    level: 'warn',
    text: 'cannot listen on {address}: {reason}',
    meaning: 'A listener is not bound; it is retried.',
    action: 'Free the port or assign the address: `ss -ltnp` shows who holds it.',
  },
  acceptPaused: {
    level: 'warn',
    text: 'accept paused: {reason}',
    meaning: 'The process has no file descriptors left; new connections wait in the backlog.',
    action: 'Raise `ulimit -n`, or lower `limits.connections`.',
  },
  acceptResumed: {
    level: 'info',
    text: 'accept resumed',
    meaning: 'Connections are accepted again.',
    action: 'Nothing.',
  },
  listenerClosed: {
    level: 'info',
    text: 'listener closed',
    meaning: 'A drain has begun, or a listener source no longer lists it.',
    action: 'Nothing.',
  },
  connectionsRefused: {
    level: 'warn',
    text: 'connection refused: {reason}',
    meaning: 'A limit was reached; `alsoRefused` counts those since the last such line.',
    action: 'Raise the limit, add gateways, or look for a client that opens too many connections.',
  },
  internalError: {
    level: 'error',
    text: 'internal error, connection closed: {reason}',
    meaning: 'A bug of Meshgate or of a plugin ended a connection.',
    action: 'Report it with its stack.',
  },
  routesUpdated: {
    level: 'info',
    text: 'routes updated: {routes}',
    meaning: 'A snapshot is in use. `appeared`, `vanished`, `health` name changed routes; `removed`: in no source now.',
    action: 'Nothing.',
  },
  sourceRemoved: {
    level: 'info',
    text: 'source removed',
    meaning: 'A reload has taken a source away; `removed` counts routes that no source has any more.',
    action: 'Nothing.',
  },
  sourceFailed: {
    level: 'warn',
    text: 'source failed, keeping last routes: {reason}',
    meaning: 'A source cannot be read; its routes stay in use and it is retried.',
    action: 'Mend the reason: the Consul agent, its token, a file.',
  },
  sourceFailedWithoutRoutes: {
    level: 'warn',
    text: 'source failed, no routes yet: {reason}',
    meaning: 'A source cannot be read and never could since the start. It is retried.',
    action: 'The same. With `stateDir` the routes of the last run would be in use.',
  },
  sourceRecovered: {
    level: 'info',
    text: 'source recovered after {duration}',
    meaning: 'A source that failed can be read again.',
    action: 'Nothing.',
  },
  sourceWarning: {
    level: 'warn',
    text: 'source warning: {warning}',
    meaning: 'A source has routes, but something about them is wrong. Once for each warning.',
    action: 'See the warning.',
  },
  sourceWarningsCleared: {
    level: 'info',
    text: 'source warnings cleared',
    meaning: 'The source has no warning any more.',
    action: 'Nothing.',
  },
  backendEjected: {
    level: 'warn',
    text: 'backend ejected for {duration} after {failures}',
    meaning: 'Dials to an address keep failing: others are preferred meanwhile.',
    action: 'Look at the backend, or at the network before it.',
  },
  backendReturned: {
    level: 'info',
    text: 'backend back in rotation',
    meaning: 'The time of an ejection is over.',
    action: 'Nothing.',
  },
  backendDown: {
    level: 'warn',
    text: 'backend down by its {kind} check: {reason}',
    meaning:
      'Health checks of an address have failed `fall` times in a row, or the very first one: others are preferred.',
    action: 'Look at the backend, or at the network before it.',
  },
  backendUp: {
    level: 'info',
    text: 'backend up by its {kind} check after {duration}',
    meaning: 'Its health checks have passed `rise` times in a row.',
    action: 'Nothing.',
  },
  backendDeparted: {
    level: 'info',
    text: 'backend of route {route} {change}: {connections} to be closed {when}',
    meaning: 'A route with `onBackendRemoved` or `onBackendDown` has lost a backend that still has connections.',
    action: 'Nothing. They end with `BACKEND_REMOVED`, unless the backend comes back before.',
  },
  routeFailover: {
    level: 'warn',
    text: 'route {route} uses its backends of priority {priority}, no longer those of {previous}',
    meaning: 'A route with `failover` has too few healthy backends of one priority, or enough of them again.',
    action: 'Look at the backends of the lower priority: `meshgate explain` shows their state.',
  },
  balanceFailed: {
    level: 'error',
    text: 'balance {balance} failed, using a random backend: {reason}',
    meaning: 'A balance of a plugin threw, or chose none of the backends it was given. Connections go on.',
    action: 'Report it to its author; `--check` finds one that no plugin offers.',
  },
  resolutionFailed: {
    level: 'warn',
    text: 'cannot resolve backend name, keeping last addresses: {reason}',
    meaning: 'The name system does not answer, or says that the name does not exist.',
    action: 'Look at resolv.conf and the name servers.',
  },
  resolutionFailedWithoutAddress: {
    level: 'warn',
    text: 'cannot resolve backend name, no address: {reason}',
    meaning: 'The same for a name that never resolved: dials to it fail.',
    action: 'The same; check the name for a typing error.',
  },
  certificateInstalled: {
    level: 'info',
    text: 'certificate of {identity} installed, valid until {date}',
    meaning: 'A Connect proxy has a new certificate.',
    action: 'Nothing.',
  },
  certificateOverdue: {
    level: 'warn',
    text: 'certificate of {identity} expires at {date} and has not been renewed',
    meaning: 'The certificate should have been replaced by now.',
    action: 'Look at the agent, or at the files: after that time peers reject it.',
  },
  certificateExpired: {
    level: 'error',
    text: 'certificate of {identity} expired at {date} and has not been renewed; peers reject it',
    meaning: 'The proxy cannot prove its identity.',
    action: 'Renew it. Check the clock of this machine.',
  },
  serviceFailed: {
    level: 'error',
    text: 'service failed: {reason}',
    meaning: 'A background task failed (registration, admin API, a worker, a plugin); everything else goes on.',
    action: 'See `service` and the stack.',
  },
  observerFailed: {
    level: 'error',
    text: 'observer failed: {reason}',
    meaning: 'A bug in an observer of a plugin. Once for each message.',
    action: 'Report it to its author.',
  },
  drainStarted: {
    level: 'info',
    text: 'drain started',
    meaning: 'SIGTERM, SIGINT or `POST /drain`.',
    action: 'Nothing.',
  },
  drainFinished: {
    level: 'info',
    text: 'drain finished',
    meaning: 'No connection is left: `finished` ended by themselves, `cut` were closed.',
    action: 'With many `cut`: lengthen `drain.grace`.',
  },
} as const;

/** Names of the messages. */
export type MessageName = keyof typeof MESSAGES;

/** The names in braces of a text. */
type ValueNames<Text> = Text extends `${string}{${infer Name}}${infer Rest}` ? Name | ValueNames<Rest> : never;

/** What stands in the braces of a message. */
export type Values<Name extends MessageName> = {
  readonly [Key in ValueNames<(typeof MESSAGES)[Name]['text']>]: string;
};

/** A line of the log before it is written. */
export interface LogLine {
  readonly level: 'debug' | Message['level'];
  /** For people. */
  readonly message: string;
  /** For programs. An `err` is written with its stack. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** The line of a message with its values. */
export function lineOf<Name extends MessageName>(
  name: Name,
  values: Values<Name>,
  facts: LogLine['facts'] = {},
): LogLine {
  const { level, text }: Message = MESSAGES[name];
  // Its keys are those of the type; a name that is in no brace stays as it is.
  const byName = values as Readonly<Record<string, string>>;
  return { level, message: text.replace(/\{(\w+)\}/g, (brace, key: string) => byName[key] ?? brace), facts };
}

/** Writes a message. */
export function logMessage<Name extends MessageName>(
  logger: Pick<Logger, Message['level']>,
  name: Name,
  ...[values, facts = {}]: ValueNames<(typeof MESSAGES)[Name]['text']> extends never
    ? [values?: Values<Name>, facts?: LogLine['facts']]
    : [values: Values<Name>, facts?: LogLine['facts']]
): void {
  const line = lineOf(name, values ?? ({} as Values<Name>), facts);
  logger[MESSAGES[name].level](line.facts, line.message);
}

/** `1 route`, `2 routes`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
