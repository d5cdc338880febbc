import type { Environment } from '../cli/consul-flags.ts';

/** Whoever started this process as a service, and wants to know how it is: systemd, by sd_notify(3). */
export interface ServiceManager {
  /** Tells it, best effort: a service manager that does not listen hurts nobody. */
  notify(state: ServiceState): void;
  /** Has it keep a socket, which the process gets back under `name` when it is started again. Where it keeps none, nothing happens. */
  store(name: string, fd: number): void;
  /** Has it close what it keeps under `name`. */
  discard(name: string): void;
}

/** What there is to tell. */
export type ServiceState =
  /** It serves. Also at the end of a reload. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'reloading' }
  | { readonly kind: 'stopping' }
  /** Another process is the service from now on. */
  | { readonly kind: 'handed over'; readonly pid: number }
  | { readonly kind: 'status'; readonly text: string }
  | { readonly kind: 'alive' };

/** A manager that was found, or why there is one that cannot be told. */
export type FoundManager =
  | { readonly kind: 'none' }
  | { readonly kind: 'found'; readonly manager: ServiceManager }
  | { readonly kind: 'unreachable'; readonly reason: string };

/**
 * Looks for a service manager that waits for notifications, and tells it that the process is alive as often as it wants to hear that. The
 * system calls that this takes are loaded only then.
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
    // Its queue is full, or it has gone: there is nobody to tell.
    const bestEffort = (tell: () => void): void => {
      try {
        tell();
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

/** The text of a notification, as sd_notify(3) has it. Pure. @param monotonicUs `CLOCK_MONOTONIC` */
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
      // A line break would begin another assignment.
      return `STATUS=${state.text.replaceAll(/\s+/g, ' ')}`;
    case 'alive':
      return 'WATCHDOG=1';
    default:
      return state satisfies never;
  }
}
