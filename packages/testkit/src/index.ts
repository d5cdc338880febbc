// For tests of a proxy: what stands before it and behind it, and what it tells.
export { rawClient, tlsClient } from './clients.ts';
export type { TlsClient, TlsClientOptions } from './clients.ts';
export { tcpBackend, tlsBackend } from './backends.ts';
export type { BackendOptions, TestBackend, TlsBackendOptions, TlsTestBackend } from './backends.ts';
export type { Conduct } from './conduct.ts';
export { peerListener } from './listener.ts';
export type { PeerListener, PeerListenerOptions } from './listener.ts';
export type { Ending, Peer, PeerOptions } from './peer.ts';
export { refusingAddress, silentAddress, unixAddress } from './addresses.ts';
export type { HeldAddress } from './addresses.ts';
export { certificateAuthority } from './certificates.ts';
export type { CertificateAuthority, IssuedCertificate, LeafOptions, Validity } from './certificates.ts';
export { recorder } from './recorder.ts';
export type { EventOf, Recorder, UntilOptions } from './recorder.ts';

// ClientHellos, byte by byte.
export {
  clientHello,
  everyPrefix,
  everySplit,
  inRecords,
  record,
  recordHello,
  X25519,
  X25519_MLKEM768,
} from './hellos.ts';
export type { ClientHelloOptions, Extension, KeyShare, ServerNameEntry } from './hellos.ts';

// What a suite needs of the machine.
export { needs } from './needs.ts';
export type { DeclareSuite } from './needs.ts';
