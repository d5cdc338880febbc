import type { Environment } from '../cli/consul-flags.ts';

/** The service manager of this process: systemd, by sd_notify(3). */
export interface ServiceManager {
  /** Sends a notification, best effort: a service manager that does not receive it is not a failure. */
  notify(state: ServiceState): void;
  /** Stores a socket, which the process inherits under `name` after a restart. No effect without a store. */
  store(name: string, fd: number): void;
  /** Removes the socket that is stored under `name`. */
  discard(name: string): void;
}

/** A notification to the service manager. */
export type ServiceState =
  /** The service is ready; also sent at the end of a reload. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'reloading' }
  | { readonly kind: 'stopping' }
  /** Another process takes over the service. */
  | { readonly kind: 'handed over'; readonly pid: number }
  | { readonly kind: 'status'; readonly text: string }
  | { readonly kind: 'alive' };

/** The service manager, or why one that exists cannot be notified. */
export type FoundManager =
  | { readonly kind: 'none' }
  | { readonly kind: 'found'; readonly manager: ServiceManager }
  | { readonly kind: 'unreachable'; readonly reason: string };

/**
 * Finds a service manager that expects notifications, and sends its watchdog keepalives. Loads the required system
 * calls only when there is one.
 */
export async function serviceManager({
  NOTIFY_SOCKET: path,
  WATCHDOG_USEC,
  WATCHDOG_PID,
}: Environment): Promise<FoundManager> {
  if (path === undefined || path === '') return { kind: 'none' };
  try {
    const { datagramSender, loadLibc } = await import('@meshgate/linux');
    const sender = datagramSender(await loadLibc(), path);
    // Ignores failures: the queue is full, or the service manager has exited.
    const bestEffort = (report: () => void): void => {
      try {
        report();
      } catch {}
    };
    const manager: ServiceManager = {
      notify: (state) => bestEffort(() => sender.send(notification(state, process.hrtime.bigint() / NS_PER_US))),
      store: (name, fd) => bestEffort(() => sender.sendDescriptor(`FDSTORE=1\nFDNAME=${name}`, fd)),
      discard: (name) => bestEffort(() => sender.send(`FDSTOREREMOVE=1\nFDNAME=${name}`)),
    };
    const isWatched = WATCHDOG_PID === undefined || Number(WATCHDOG_PID) === process.pid;
    if (isWatched && Number(WATCHDOG_USEC) > 0)
      setInterval(() => manager.notify({ kind: 'alive' }), Number(WATCHDOG_USEC) / US_PER_MS / 2).unref();
    return { kind: 'found', manager };
  } catch (reason) {
    return { kind: 'unreachable', reason: reason instanceof Error ? reason.message : String(reason) };
  }
}

const NS_PER_US = 1_000n;
const US_PER_MS = 1_000;

/**
 * Formats a notification, as defined in sd_notify(3). Pure.
 *
 * @param monotonicUs `CLOCK_MONOTONIC` in microseconds
 */
export function notification(state: ServiceState, monotonicUs: bigint): string {
  switch (state.kind) {
    case 'ready':
      return 'READY=1\nSTATUS=ready';
    case 'reloading':
      return `RELOADING=1\nMONOTONIC_USEC=${monotonicUs}\nSTATUS=reloading`;
    case 'stopping':
      return 'STOPPING=1\nSTATUS=draining';
    case 'handed over':
      return `MAINPID=${state.pid}\nREADY=1`;
    case 'status':
      // A line break would start another assignment.
      return `STATUS=${state.text.replaceAll(/\s+/g, ' ')}`;
    case 'alive':
      return 'WATCHDOG=1';
    default:
      return state satisfies never;
  }
}
