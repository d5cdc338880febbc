// For embedders: the parts that a sidecar adds to a proxy.
export { byListener, sidecarParts } from './sidecar.ts';
export type { SidecarOptions, SidecarParts } from './sidecar.ts';
export { sidecarConnector } from './sidecar-connector.ts';
export type { SidecarConnectorOptions } from './sidecar-connector.ts';
export { destinationOf, PUBLIC, sidecarListeners, sidecarRoutes } from './sidecar-routes.ts';
export type { SidecarTarget, Leg } from './sidecar-routes.ts';

// Identities of a proxy and its peers.
export { IdentityStore } from './identity-store.ts';
export type { CertificateStatus, IdentityStoreOptions } from './identity-store.ts';
export { identityOf, certificateState } from './identity.ts';
export type { Identity, CertificateState } from './identity.ts';
export { fileCredentials, readCredentials } from './file-credentials.ts';
export type { CredentialFiles } from './file-credentials.ts';
export { serviceIn } from './certificate-identity.ts';
export type { CertifiedService } from './certificate-identity.ts';
export { acceptMutualTls, CALLER } from './server-handshake.ts';
export { beginMutualTls } from './client-handshake.ts';
export type { ClientHandshake } from './client-handshake.ts';
export type { ExpectedServer } from './server-identity.ts';
