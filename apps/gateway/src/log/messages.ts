import type { Logger } from 'pino';
import { oneLine } from './printable.ts';

/** A log message of level `info` or above, and its entry in docs/operate/logs.md. */
export interface Message {
  readonly level: 'info' | 'warn' | 'error' | 'fatal';
  /** Text of the message, with the names of its values in braces. */
  readonly text: string;
  /** What the message means. */
  readonly meaning: string;
  /** What the operator should do. */
  readonly action: string;
}

/** Every message of level `info` and above, except for the access log: a closed list of {@link Message}. */
export const MESSAGES = {
  started: {
    level: 'info',
    text: 'started',
    meaning:
      'The process is running and its admin API responds; `maxConnections` and `maxPendingHandshakes` are its limits.',
    action: 'Nothing.',
  },
  ready: {
    level: 'info',
    text: 'ready',
    meaning: '`/ready` returns 200: it listens and knows its routes. Also after it was not ready.',
    action: 'Scripts wait for this line.',
  },
  notReady: {
    level: 'warn',
    text: 'not ready: {reasons}',
    meaning: '`/ready` returns 503, for these reasons.',
    action: 'See the reasons: a source without a snapshot, a listener that cannot bind, an expired certificate.',
  },
  transportUnavailable: {
    level: 'info',
    text: 'transport {transport} unavailable, using {used}: {reason}',
    meaning: 'A transport that `auto` prefers does not work on this machine, as `uring` in most containers.',
    action: 'Nothing, or fix the reason. Naming the transport in use silences it.',
  },
  configFound: {
    level: 'info',
    text: 'reading {file}: found in the current folder, no --config given',
    meaning: 'Flags or variables configure Consul; a configuration file that no flag names is in use as well.',
    action: 'Nothing, or name the file with `--config`.',
  },
  fileAwaited: {
    level: 'warn',
    text: 'waiting for a file: {problem}',
    meaning:
      'A token or certificate file of the configuration is not usable yet. It is retried, and `/ready` says why.',
    action: 'Nothing, if another process writes it, such as Vault Agent; otherwise create it.',
  },
  coreDumpsPossible: {
    level: 'warn',
    text: 'cannot disable core dumps: {reason}',
    meaning:
      'A crash may leave a file with everything that the process knows: the key of a sidecar, the token of the agent.',
    action: 'Set `LimitCORE=0` in the unit, or `--ulimit core=0` of the container.',
  },
  noDrainDelay: {
    level: 'warn',
    text: 'drain.delay is 0 in a pod: connections are refused at the start of each drain',
    meaning:
      'A pod gets SIGTERM at the moment of its removal from the endpoints, and connections still arrive for some seconds.',
    action: 'Set `drain.delay: 5s`, and a longer `terminationGracePeriodSeconds`.',
  },
  processStalled: {
    level: 'warn',
    text: 'process stalled for {duration}: {cause}',
    meaning:
      'The process carried nothing for this long; all of its connections waited. Deadlines that passed meanwhile were extended a little.',
    action:
      'Stopped: look for SIGSTOP, a paused container, a suspended or migrated machine, CPU limits, swapping. Busy: a plugin, or very large route files.',
  },
  cannotStart: {
    level: 'fatal',
    text: 'cannot start: {reason}',
    meaning: 'A part failed to start; the process exits with status 1.',
    action: 'Fix the reason, such as a port in use.',
  },
  printed: {
    level: 'info',
    text: 'printed by a plugin: {output}',
    meaning: 'A plugin or one of its packages called `console`.',
    action: 'Nothing. Its author can use `host.log`, which has levels and fields.',
  },
  uncaughtException: {
    level: 'fatal',
    text: 'uncaught exception, draining before exit',
    meaning: 'A bug in Meshgate or in a plugin. Connections may finish, then the process exits with status 1.',
    action: 'Report it with the line `service failed` before it, which has the stack.',
  },
  shutdownIncomplete: {
    level: 'error',
    text: 'shutdown incomplete: {reason}',
    meaning: 'A service did not stop in time, or failed; the process exits with status 1.',
    action: 'Check the service named; a registration may be left behind in Consul.',
  },
  primaryGone: {
    level: 'error',
    text: 'primary process gone, draining',
    meaning: 'The primary was killed. Workers let their connections finish and exit.',
    action: 'Find out why it was killed: perhaps by the kernel, out of memory.',
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
    meaning: 'The configuration on disk is in use.',
    action: 'Nothing.',
  },
  restartNeeded: {
    level: 'warn',
    text: 'changed settings need a restart: {settings}',
    meaning: 'A reload applied everything else; these settings are unchanged.',
    action: 'Run `meshgate upgrade`, which drops no connection.',
  },
  reloadRefused: {
    level: 'error',
    text: 'reload refused, nothing changed: {problem}',
    meaning: 'The configuration on disk is invalid, or one of its addresses or sources cannot be used.',
    action: 'Fix the problem, and reload again.',
  },
  upgradeStarted: {
    level: 'info',
    text: 'starting a successor',
    meaning: 'SIGUSR2, `POST /upgrade` or `meshgate upgrade`: a new process starts from the files on disk.',
    action: 'Nothing.',
  },
  handedOver: {
    level: 'info',
    text: 'successor is ready, draining',
    meaning: 'The process `successor` accepts connections on the same sockets; the connections of this one finish.',
    action: 'Nothing.',
  },
  upgradeFailed: {
    level: 'error',
    text: 'no successor, continuing: {reason}',
    meaning: 'The new process exited, or was not ready in time.',
    action: 'See the reason, and the log lines of the new process.',
  },
  serviceManagerUnreachable: {
    level: 'warn',
    text: 'cannot notify service manager: {reason}',
    meaning:
      '`NOTIFY_SOCKET` is set, but the required system calls are not available: systemd does not learn that the service is ready.',
    action: 'Where koffi has no binary, use `Type=exec` in place of `Type=notify`, and no `WatchdogSec`.',
  },
  linesDropped: {
    level: 'warn',
    text: '{dropped} log lines dropped: {reason}',
    meaning: 'The log could not be written for a while; writing has resumed.',
    action: 'Free space on the disk, or check the reader of the log.',
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
    action: 'Free the port or assign the address: `ss -ltnp` shows the process that has it.',
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
    meaning: 'A drain has started, or a listener source no longer lists it.',
    action: 'Nothing.',
  },
  connectionsRefused: {
    level: 'warn',
    text: 'connection refused: {reason}',
    meaning: 'A limit was reached; `alsoRefused` counts the refusals since the last such line.',
    action: 'Raise the limit, add gateways, or look for a client that opens too many connections.',
  },
  internalError: {
    level: 'error',
    text: 'internal error, connection closed: {reason}',
    meaning: 'A bug in Meshgate or in a plugin closed a connection.',
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
    meaning: 'A reload removed a source; `removed` counts routes that are in no source any more.',
    action: 'Nothing.',
  },
  sourceFailed: {
    level: 'warn',
    text: 'source failed, keeping last routes: {reason}',
    meaning: 'A source cannot be read; its routes stay in use and it is retried.',
    action: 'Fix the reason: the Consul agent, its token, a file.',
  },
  sourceFailedWithoutRoutes: {
    level: 'warn',
    text: 'source failed, no routes yet: {reason}',
    meaning: 'A source cannot be read and has had no routes since the start. It is retried.',
    action: 'The same. With `stateDir`, the routes of the last run would be in use.',
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
    meaning: 'A source has routes, but reports a problem. Logged once per warning.',
    action: 'See the warning.',
  },
  sourceWarningsCleared: {
    level: 'info',
    text: 'source warnings cleared',
    meaning: 'The source has no warnings any more.',
    action: 'Nothing.',
  },
  backendEjected: {
    level: 'warn',
    text: 'backend ejected for {duration} after {failures}',
    meaning: 'Consecutive dials to an address failed: others are preferred meanwhile.',
    action: 'Check the backend, and the network path to it.',
  },
  backendReturned: {
    level: 'info',
    text: 'backend back in rotation',
    meaning: 'The ejection is over.',
    action: 'Nothing.',
  },
  backendDown: {
    level: 'warn',
    text: 'backend down by its {kind} check: {reason}',
    meaning: 'Health checks of an address failed `fall` times in a row, or the first one did: others are preferred.',
    action: 'Check the backend, and the network path to it.',
  },
  backendUp: {
    level: 'info',
    text: 'backend up by its {kind} check after {duration}',
    meaning: 'Its health checks passed `rise` times in a row.',
    action: 'Nothing.',
  },
  backendDeparted: {
    level: 'info',
    text: 'backend of route {route} {change}: {connections} to be closed {when}',
    meaning: 'A route with `onBackendRemoved` or `onBackendDown` lost a backend that still has connections.',
    action: 'Nothing. They end with `BACKEND_REMOVED`, unless the backend comes back first.',
  },
  routeFailover: {
    level: 'warn',
    text: 'route {route} switched to backends of priority {priority} from {previous}',
    meaning: 'A route with `failover` has too few healthy backends of one priority, or enough of them again.',
    action: 'Check the backends of the preferred priority: `meshgate explain` shows their state.',
  },
  balanceFailed: {
    level: 'error',
    text: 'balance {balance} failed, using a random backend: {reason}',
    meaning: "A plugin's balance threw, or did not choose one of the backends. Connections continue.",
    action: 'Report it to its author; `--check` finds a balance that no plugin offers.',
  },
  pathImpaired: {
    level: 'warn',
    text: 'network path to {address} impaired: {reason}',
    meaning:
      'Packets are lost without an error: those of full size behind a link with a smaller MTU, or all of IPv4 or IPv6. Logged once per stall of a connection, or per backend.',
    action:
      'Compare `ping -M do -s 1472 HOST` with `ping -s 1000 HOST`; let ICMP "fragmentation needed" pass. IPv4 or IPv6: repair it, or remove its DNS records.',
  },
  resolutionFailed: {
    level: 'warn',
    text: 'cannot resolve backend name, keeping last addresses: {reason}',
    meaning: 'The name servers do not respond, or the name does not exist.',
    action: 'Check resolv.conf and the name servers.',
  },
  resolutionFailedWithoutAddress: {
    level: 'warn',
    text: 'cannot resolve backend name, no address: {reason}',
    meaning: 'The same for a name that has never resolved: dials to it fail.',
    action: 'The same; check the spelling of the name.',
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
    meaning: 'The certificate should have been renewed by now.',
    action: 'Check the agent or the files: peers reject it after that time.',
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
    meaning: 'A background task failed (registration, admin API, a worker, a plugin); everything else continues.',
    action: 'See `service` and the stack.',
  },
  observerFailed: {
    level: 'error',
    text: 'observer failed: {reason}',
    meaning: "A bug in a plugin's observer. Logged once per message.",
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
    meaning: 'No connection is left: `finished` ended normally, `cut` were closed.',
    action: 'With many `cut`, raise `drain.grace`.',
  },
} as const;

/** Name of a message. */
export type MessageName = keyof typeof MESSAGES;

/** The names in braces. */
type ValueNames<Text> = Text extends `${string}{${infer Name}}${infer Rest}` ? Name | ValueNames<Rest> : never;

/** The values of a message. */
export type Values<Name extends MessageName> = {
  readonly [Key in ValueNames<(typeof MESSAGES)[Name]['text']>]: string;
};

/** A log line before it is written. */
export interface LogLine {
  readonly level: 'debug' | Message['level'];
  /** Message for people. */
  readonly message: string;
  /** Facts for programs. An `err` is written with its stack. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** Returns the line of a message with its values. */
export function lineOf<Name extends MessageName>(
  name: Name,
  values: Values<Name>,
  facts: LogLine['facts'] = {},
): LogLine {
  const { level, text }: Message = MESSAGES[name];
  // The keys are those of the type; a name without a value remains unchanged.
  const byName = values as Readonly<Record<string, string>>;
  const valueOf = (brace: string, key: string): string => (key in byName ? oneLine(byName[key] ?? '') : brace);
  return { level, message: text.replace(/\{(\w+)\}/g, valueOf), facts };
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

/** Formats a number with its noun: `1 route`, `2 routes`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
