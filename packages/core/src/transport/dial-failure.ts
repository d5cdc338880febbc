import { formatDuration } from '../duration.ts';
import { ProxyError, systemCode } from '../errors.ts';
import { isThenable } from '../lifecycle/part-shape.ts';
import { formatEndpoint } from './endpoint.ts';
import type { Endpoint } from './endpoint.ts';
import { isAnyAddress } from './own-addresses.ts';
import type { Dial, DialOptions, Transport } from './transport.ts';

/** Returns the error of a failed dial to `to`. Only `code` of the system's error `cause` is used (`ECONNREFUSED` …). */
export function dialFailure(to: Endpoint, cause: NodeJS.ErrnoException): ProxyError {
  const { code: name = '' } = cause;
  const shortage = shortageOf(to, name);
  const detail = `dial ${formatEndpoint(to)}: ${name === '' ? cause.message : name}`;
  if (shortage !== undefined) return new ProxyError('LOCAL_RESOURCE', `${detail}, ${shortage}`, { cause });
  return new ProxyError(DIAL_FAILURES[name] ?? 'CONNECT_FAILED', detail, { cause });
}

/** EAGAIN means no free port, except for unix sockets: there connect(2) reports a full accept queue. */
function shortageOf({ host }: Endpoint, code: string): string | undefined {
  return code === 'EAGAIN' && host.startsWith('unix:') ? undefined : LOCAL_SHORTAGES[code];
}

/**
 * Returns `error`, corrected to `LOCAL_RESOURCE` if its cause is a local shortage that the transport did not recognise.
 */
export function recognisedShortage(error: ProxyError): ProxyError {
  const { cause } = error;
  const shortage = LOCAL_SHORTAGES[systemCode(cause) ?? ''];
  return shortage === undefined || error.code === 'LOCAL_RESOURCE'
    ? error
    : new ProxyError('LOCAL_RESOURCE', `${error.message}, ${shortage}`, { cause });
}

/** Returns the error of a dial without an answer within `timeoutMs` milliseconds. */
export function dialTimeout(to: Endpoint, timeoutMs: number): ProxyError {
  return new ProxyError(
    'CONNECT_TIMEOUT',
    `dial ${formatEndpoint(to)}: no response within ${formatDuration(timeoutMs)}`,
  );
}

/** Returns the error of a dial to an invalid address; `problem` describes it in one clause. */
export function undiallable(to: Endpoint, problem: string): ProxyError {
  return new ProxyError('CONNECT_FAILED', `dial ${formatEndpoint(to)}: ${problem}`);
}

/**
 * Dials through `transport`. Never throws: if the transport does, or returns no dial, the returned dial has failed. A
 * wildcard address is not dialled: to the kernel it is this machine, but a registration with it means another machine, and
 * a name server that returns it means none.
 */
export function begun(transport: Pick<Transport, 'dial'>, to: Endpoint, options: DialOptions): Dial {
  if (isAnyAddress(to.host)) return failedDial(undiallable(to, ANY_ADDRESS));
  try {
    const dial = transport.dial(to, options);
    if (hasDone(dial)) return dial;
    throw new TypeError('expected a dial, found none');
  } catch (reason) {
    return failedDial(ProxyError.from(reason, 'transport'));
  }
}

const ANY_ADDRESS = 'it stands for any address, so that only a listener can have it; expected the address of a backend';

/** Whether a transport returned a dial or a splice. */
export function hasDone(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'done' in value && isThenable(value.done);
}

/** Returns a dial that has failed before it began. */
export function failedDial(reason: ProxyError): Dial {
  return { done: Promise.reject(reason), cut: () => undefined };
}

const NO_PORT = 'no local port or address left for it (net.ipv4.ip_local_port_range)';

/** Local shortages, by errno(3); no peer is at fault. Sources: connect(2), socket(2), ip(7), ip-route(8). */
const LOCAL_SHORTAGES: Readonly<Record<string, string>> = {
  EMFILE: 'no file descriptor left in this process (ulimit -n)',
  ENFILE: 'no file descriptor left on this machine (fs.file-max)',
  EADDRNOTAVAIL: NO_PORT,
  EADDRINUSE: NO_PORT,
  EAGAIN: NO_PORT,
  EAFNOSUPPORT: 'address family not available on this machine (net.ipv6.conf.all.disable_ipv6)',
  ENETDOWN: 'the network interface for it is down (ip link)',
  ENOBUFS: 'no memory left for sockets',
  ENOMEM: 'no memory left for sockets',
  EPERM: 'not permitted on this machine (packet filter, security policy)',
  EINVAL: 'refused by the routing of this machine (a blackhole route, or a link-local address without its interface)',
  EACCES: 'not permitted on this machine (security policy, permissions of the socket)',
};

const DIAL_FAILURES: Readonly<Record<string, 'CONNECT_REFUSED' | 'CONNECT_TIMEOUT'>> = {
  ECONNREFUSED: 'CONNECT_REFUSED',
  // A unix socket without a listener, or without a file.
  ENOENT: 'CONNECT_REFUSED',
  // The kernel gave up before the dial's own timeout.
  ETIMEDOUT: 'CONNECT_TIMEOUT',
};
