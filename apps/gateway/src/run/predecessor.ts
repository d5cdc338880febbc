import type { ListenAddress } from '@meshgate/core';
import * as z from 'zod';
import type { Environment } from '../cli/consul-flags.ts';
import { InheritedSockets } from './inherited-sockets.ts';
import type { InheritedSocket } from './inherited-sockets.ts';
import { storedSocket } from './socket-store.ts';

/** How this process was started. */
export interface ProcessOrigin {
  readonly sockets: InheritedSockets;
  /** The gateway that this process replaces, which waits until it is ready; absent without one. */
  readonly predecessor: Predecessor | undefined;
}

/** A gateway that continues until this process is ready. */
export interface Predecessor {
  /** Makes the predecessor drain, since this process has taken over. */
  ready(): void;
}

/** Environment variable in which a predecessor lists its sockets, in the order of their descriptors. */
export const HANDOVER_VARIABLE = 'MESHGATE_HANDOVER';

/** First descriptor after the standard ones, as `SD_LISTEN_FDS_START` in sd_listen_fds(3). */
const FIRST_SOCKET_FD = 3;

/**
 * Reads how the process was started, and removes it from the environment, where it would be wrong for child processes.
 *
 * @throws Error when a service manager passes a socket that belongs to no listener
 */
export function originOf(env: Environment, listeners: readonly ListenAddress[]): ProcessOrigin {
  const handover = env[HANDOVER_VARIABLE];
  const { LISTEN_PID: pid, LISTEN_FDS: count, LISTEN_FDNAMES: names = '' } = env;
  for (const name of [HANDOVER_VARIABLE, 'LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete process.env[name];
  if (handover !== undefined) {
    const handed = z.array(socketSchema).parse(JSON.parse(handover));
    const sockets = handed.map(({ isManaged = false, ...socket }, index) => {
      return { ...socket, isManaged, fd: FIRST_SOCKET_FD + index };
    });
    return { sockets: new InheritedSockets(sockets), predecessor: parentProcess() };
  }
  if (Number(pid) !== process.pid || !(Number(count) > 0)) return noOrigin();
  const all = activatedSockets(names.split(':').slice(0, Number(count)), listeners);
  return { sockets: new InheritedSockets(all), predecessor: undefined };
}

const socketSchema = z.object({
  kind: z.enum(['listener', 'admin']),
  name: z.string(),
  endpoint: z.object({ host: z.string(), port: z.int() }),
  isManaged: z.boolean().optional(),
});

function parentProcess(): Predecessor | undefined {
  if (process.send === undefined) return undefined;
  return {
    ready: () => {
      if (process.connected) process.send?.({ kind: 'ready' }, () => process.disconnect?.());
    },
  };
}

/**
 * Assigns the sockets of a service manager by name (`FileDescriptorName=` of systemd.socket(5)): the name is that of a
 * listener. A single socket belongs to a single listener, whatever its name. Sockets stored by an earlier process have
 * names of their own. Pure.
 */
export function activatedSockets(
  names: readonly string[],
  listeners: readonly ListenAddress[],
): readonly InheritedSocket[] {
  return names.map((name, index) => {
    const stored = storedSocket(name);
    if (stored !== undefined) return { ...stored, fd: FIRST_SOCKET_FD + index };
    const only = names.length === 1 && listeners.length === 1 ? listeners[0] : undefined;
    const listener = listeners.find((one) => one.name === name) ?? only;
    if (listener === undefined) {
      const known = listeners.map((one) => one.name).join(', ');
      throw new Error(`socket ${name} of the service manager: expected the name of a listener (${known})`);
    }
    return {
      kind: 'listener',
      name: listener.name,
      endpoint: listener.endpoint,
      fd: FIRST_SOCKET_FD + index,
      isManaged: true,
    };
  });
}

/** The origin of a process without inherited sockets. */
function noOrigin(): ProcessOrigin {
  return { sockets: new InheritedSockets(), predecessor: undefined };
}
