export { parseClientHello } from './client-hello.ts';
export { parseServerName } from './server-name.ts';
export { sniSniffer } from './sniffer.ts';
export { traceOf } from './trace.ts';
export type {
  ClientHelloVerdict,
  MoreNeeded,
  ParsedClientHello,
  PossibleServerName,
  RejectReason,
  Rejected,
  ServerNameVerdict,
} from './verdict.ts';
