import { fact, formatEndpoint, ProxyError } from '@meshgate/core';
import type { ConnectionFilter, Fact, FilterContext } from '@meshgate/core';
import { addressList } from './address-list.ts';
import { parseProxyHeader } from './proxy-header.ts';
import type { ProxyHeader } from './proxy-header.ts';

/** Peers that {@link proxyProtocol} trusts. */
export interface ProxyProtocolOptions {
  /**
   * Addresses and blocks of load balancers: `10.0.0.0/8`, `2001:db8::1`, `unix`. They must send a header; other peers
   * may not connect.
   */
  readonly from: readonly string[];
}

/** The header at the start of a connection, including its TLVs. */
export const PROXY_HEADER: Fact<ProxyHeader> = fact('proxy.header');

/** The host name that the client requested from the load balancer (TLV `PP2_TYPE_AUTHORITY`). */
export const PROXY_AUTHORITY: Fact<string> = fact('proxy.authority', (authority) => authority);

const AUTHORITY = 0x02;

/**
 * Reads the PROXY protocol, version 1 or 2, which load balancers send before the client's bytes: the client's address
 * is then the one in the header. A connection from another peer ends with `PROXY_PROTOCOL_UNTRUSTED`, one with a
 * missing or malformed header with `PROXY_PROTOCOL_MALFORMED`. Must be the first filter of its listener.
 *
 * @throws Error if `from` contains an invalid address
 */
export function proxyProtocol({ from }: ProxyProtocolOptions): ConnectionFilter {
  const trusted = addressList(from);
  return { name: 'proxy-protocol', filter };

  async function filter(client: FilterContext): Promise<undefined> {
    const { remote } = client.connection;
    if (!trusted.has(remote.host))
      throw new ProxyError(
        'PROXY_PROTOCOL_UNTRUSTED',
        `expected a connection from ${from.join(', ') || 'nobody'}, found one from ${formatEndpoint(remote)}`,
      );
    const header = await headerOf(client);
    client.set(PROXY_HEADER, header);
    const authority = header.tlvs.find(({ type }) => type === AUTHORITY);
    if (authority !== undefined) client.set(PROXY_AUTHORITY, Buffer.from(authority.value).toString('utf8'));
    if (header.source !== undefined) client.setRemote(header.source);
  }
}

async function headerOf(client: FilterContext): Promise<ProxyHeader> {
  for (let atLeast = 1; ;) {
    const bytes = await client.peek(atLeast);
    const result = parseProxyHeader(bytes);
    if (result.kind === 'header') {
      client.consume(result.length);
      return result.header;
    }
    if (result.kind !== 'more') throw new ProxyError('PROXY_PROTOCOL_MALFORMED', problemOf(result, bytes));
    atLeast = result.atLeast;
  }
}

const SHOWN_BYTES = 8;

function problemOf(
  result: { readonly kind: 'none' } | { readonly kind: 'malformed'; readonly reason: string },
  bytes: Uint8Array,
): string {
  if (result.kind === 'malformed') return `PROXY protocol: ${result.reason}`;
  const start = Buffer.from(bytes.subarray(0, SHOWN_BYTES)).toString('hex');
  // A handshake record of TLS (RFC 8446, section 5.1).
  const hint = bytes[0] === 22 && bytes[1] === 3 ? ': a ClientHello, so the peer sends no PROXY protocol header' : '';
  return `expected a PROXY protocol header, found bytes that begin with ${start}${hint}`;
}
