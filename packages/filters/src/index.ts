// Built-in connection filters.
export { PROXY_AUTHORITY, PROXY_HEADER, proxyProtocol } from './proxy-protocol.ts';
export type { ProxyProtocolOptions } from './proxy-protocol.ts';
export { proxyProtocolBackends } from './proxy-protocol-out.ts';
export { formatProxyHeader } from './proxy-header-writer.ts';
export type { ProxiedConnection } from './proxy-header-writer.ts';
export { parseProxyHeader } from './proxy-header.ts';
export type { ProxyHeader, ProxyHeaderResult, Tlv } from './proxy-header.ts';
export { postgres, POSTGRES_SSL, postgresBackends } from './postgres.ts';
export { addressList, isAddressOrBlock } from './address-list.ts';
export type { AddressList } from './address-list.ts';
