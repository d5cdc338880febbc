// The content of the stand-in agent in the tests of peering: two local services, and one that the peer `cloud` exports.
import type { StandInService } from '@meshgate/testkit';

/** Trust domain of the peer. */
export const PTD = '1c053652-8512-4373-90cf-5a7f6263a994.consul';

/** Proxies of the services, and the applications behind them. */
export const DB: StandInService = {
  name: 'db-proxy',
  kind: 'connect-proxy',
  destination: 'db',
  address: '10.0.0.2',
  port: 20_000,
};
/** As above. */
export const API: StandInService = { ...DB, name: 'api-proxy', destination: 'api', address: '10.0.0.3' };
/** The applications: a service has a route if its name is registered and something implements Connect for it. */
export const APPLICATIONS: readonly StandInService[] = ['db', 'api'].map((name) => ({ name, port: 80 }));
/** Imported from the peer. */
export const REFUNDS: StandInService = {
  name: 'refunds-sidecar-proxy',
  id: 'refunds-sidecar-proxy-instance-0',
  kind: 'connect-proxy',
  destination: 'refunds',
  address: '10.9.0.1',
  port: 8443,
  wan: { address: '203.0.113.9', port: 443 },
  peer: 'cloud',
  peerMeta: {
    SNI: [`refunds.default.default.here.external.${PTD}`],
    SpiffeID: [`spiffe://${PTD}/ns/default/dc/cloud-dc/svc/refunds`],
    Protocol: 'tcp',
  },
};
/** The application behind it: without one a gateway does not route an imported service, as in Consul. */
export const REFUNDS_ITSELF: StandInService = { name: 'refunds', node: 'node-of-refunds', port: 80, peer: 'cloud' };
/** The peering. */
export const CLOUD = {
  Name: 'cloud',
  PeerServerName: `server.cloud-dc.peering.${PTD}`,
  PeerServerAddresses: ['203.0.113.9:443', 'gw.cloud.example:443'],
};
