export { parseClientHello } from './client-hello.ts';
export { sniSniffer } from './sniffer.ts';
export type { ClientHelloVerdict, MoreNeeded, ParsedClientHello, RejectReason, Rejected } from './verdict.ts';
