// For tests of a proxy: clients, backends, and recorders of events.
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
export { relay } from './relay.ts';
export type { TcpRelay, RelayOptions } from './relay.ts';
export { descriptorsByKind } from './descriptors.ts';
export { loopsIdle, until } from './turns.ts';
export { standInAgent } from './stand-in-agent/stand-in-agent.ts';
export type { StandInAgent, StandInAgentOptions } from './stand-in-agent/stand-in-agent.ts';
export type { KnownLeader, StandInFault } from './stand-in-agent/faults.ts';
export { checkServiceNode } from './stand-in-agent/mesh.ts';
export type { ConsulObject, StandInMesh, StandInServer, StandInService } from './stand-in-agent/mesh.ts';
export type { ConsulVersion } from './stand-in-agent/versions.ts';
export { nameServer } from './name-server.ts';
export type { NameAnswer, NameServer, Zone } from './name-server.ts';
export { certificateAuthority } from './certificates.ts';
export type {
  AuthorityOptions,
  CertificateAuthority,
  IssuedCertificate,
  LeafOptions,
  Validity,
} from './certificates.ts';
export { recorder } from './recorder.ts';
export type { EventOf, Recorder, UntilOptions } from './recorder.ts';

// For plugin authors: contract suites for parts.
export { describeRouteSource } from './contracts/route-source.ts';
export { describeListenerSource } from './contracts/listener-source.ts';
export type { SourceHarness, SourceUnderTest } from './contracts/watching.ts';
export { describeConnectionFilter } from './contracts/connection-filter.ts';
export type { FilterSample } from './contracts/connection-filter.ts';
export { describeSniffer } from './contracts/sniffer.ts';
export type { SnifferSample } from './contracts/sniffer.ts';
export { describeResolver } from './contracts/resolver.ts';
export type { ResolverHarness, ResolverUnderTest } from './contracts/resolver.ts';
export { describeObserver } from './contracts/observer.ts';
export { describeBalance } from './contracts/balance.ts';
export { describeLayer } from './contracts/layer.ts';
export { describeService } from './contracts/service.ts';
export { describeTransport } from './contracts/transport.ts';
export type { CreateTransport, TransportTraits } from './contracts/transport/claims.ts';
export type { ObserverTraits } from './contracts/observer.ts';

// Values for tests of single parts.
export { fakeHost } from './fake-host.ts';
export type { FakeHost, FakeHostOptions, PluginLogLine } from './fake-host.ts';
export { eventSamples, sampleAccepted, sampleHello } from './event-samples.ts';
export type { EventSamples } from './event-samples.ts';

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

// Requirements of a suite on the machine.
export { needs } from './needs.ts';
export type { DeclareSuite } from './needs.ts';
