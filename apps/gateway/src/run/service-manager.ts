import type { Environment } from '../cli/consul-flags.ts';

/** The service manager of this process: systemd, by sd_notify(3). */
export interface ServiceManager {
  /** Notifies it, best effort: a service manager that does not listen is no failure. */
  notify(state: ServiceState): void;
  /** Stores a socket, which the process gets back under `name` when it is restarted. Without a store, nothing happens. */
  store(name: string, fd: number): void;
  /** Removes the socket stored under `name`. */
  discard(name: string): void;
}

/** The notifications. */
export type ServiceState =
  /** Ready. Also at the end of a reload. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'reloading' }
  | { readonly kind: 'stopping' }
  /** Another process takes over the service. */
  | { readonly kind: 'handed over'; readonly pid: number }
  | { readonly kind: 'status'; readonly text: string }
  | { readonly kind: 'alive' };

/** The manager found, or why one that exists cannot be notified. */
export type FoundManager =
  | { readonly kind: 'none' }
  | { readonly kind: 'found'; readonly manager: ServiceManager }
  | { readonly kind: 'unreachable'; readonly reason: string };

/**
 * Looks for a service manager that expects notifications, and sends the watchdog's keepalives. The required system
 * calls are loaded only then.
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
    // Its queue is full, or it has exited: nobody receives it.
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

/** The text of a notification, as sd_notify(3) defines it. Pure. @param monotonicUs `CLOCK_MONOTONIC` */
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
