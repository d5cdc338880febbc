import type { ServerResponse } from 'node:http';

/** A fault of the agent. */
export type StandInFault =
  /** The response is delayed by this many milliseconds. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** The connection is reset: at once, or in the middle of the response. */
  | { readonly kind: 'cut'; readonly midway?: boolean }
  /** An error of Consul: 500 «No cluster leader», 429 «Your IP is issuing too many concurrent connections», 403 … */
  | { readonly kind: 'status'; readonly status: number; readonly body?: string }
  /** The previous response with its index, as from a server with stale data. */
  | { readonly kind: 'older'; readonly leader?: KnownLeader }
  /** No data: an empty list or object, with a newer index. */
  | { readonly kind: 'empty'; readonly leader?: KnownLeader }
  /** An endless response, longer than any client should read. */
  | { readonly kind: 'huge' }
  /** One byte every few milliseconds, forever. */
  | { readonly kind: 'trickle' }
  /** No response at all. */
  | { readonly kind: 'silence' }
  /** A response that is not Consul's: `<html>…`. */
  | { readonly kind: 'garbage' };

/** State of the leader in the response headers: no leader, or no contact for 20 s. There is a leader when absent. */
export type KnownLeader = 'none' | 'silent';

/** Plays a fault that replaces the response. @returns `false` for a fault that changes the response or its timing */
export function playFault(fault: StandInFault, outgoing: ServerResponse): boolean {
  switch (fault.kind) {
    case 'cut':
      if (fault.midway === true)
        outgoing.writeHead(200, { 'content-length': 100 }).write('[', () => outgoing.destroy());
      else outgoing.destroy();
      return true;
    case 'status':
      outgoing.writeHead(fault.status).end(fault.body ?? COMPLAINTS[fault.status] ?? 'something is wrong');
      return true;
    case 'huge':
      flood(outgoing.writeHead(200));
      return true;
    case 'trickle':
      trickle(outgoing.writeHead(200));
      return true;
    case 'silence':
      return true;
    case 'garbage':
      outgoing.writeHead(200, { 'X-Consul-Index': '5' }).end('<html>not Consul</html>');
      return true;
    case 'delay':
    case 'older':
    case 'empty':
      return false;
  }
}

const COMPLAINTS: Readonly<Record<number, string>> = {
  403: "Permission denied: token with AccessorID '00000000-0000-0000-0000-000000000002' lacks permission 'service:read'",
  429: 'Your IP is issuing too many concurrent connections, please rate limit your calls',
  500: 'No cluster leader',
};

const CHUNK = Buffer.alloc(1024 * 1024, ' ');
const TRICKLE_MS = 5;

function flood(outgoing: ServerResponse): void {
  if (outgoing.destroyed) return;
  if (outgoing.write(CHUNK)) setImmediate(flood, outgoing);
  else outgoing.once('drain', () => flood(outgoing));
}

function trickle(outgoing: ServerResponse): void {
  const timer = setInterval(() => outgoing.write(' '), TRICKLE_MS);
  outgoing.once('close', () => clearInterval(timer));
}
