/**
 * The versions of Consul that can be played; each stands for the last release of its line that was recorded or checked.
 */
export type ConsulVersion = '1.8' | '1.13' | '1.15' | '1.16' | '1.17';

/** Differences between the versions that matter to a proxy. */
export interface VersionTraits {
  /** Release in `agent/self`. */
  readonly release: string;
  /** Whether cluster peering exists (1.13). */
  readonly hasPeering: boolean;
  /** Whether peering queries can block (1.15.3). */
  readonly holdsPeerings: boolean;
  /** Whether a peering has `PeerCAPems` (1.14). */
  readonly showsPeerRoots: boolean;
  /** Whether `GET /v1/exported-services` exists (1.17.3). */
  readonly hasExportedServices: boolean;
  /** Whether config entries of kind `mesh` and `exported-services` exist (1.10, 1.13). */
  readonly hasMeshEntries: boolean;
  /** Whether deregistering an unknown service is an error (1.14). */
  readonly refusesUnknownDeregistration: boolean;
  /** Whether blocking health queries are served from the servers' stream to the agent (1.10, on a client agent). */
  readonly streamsHealth: boolean;
  /** Whether queries for intentions by destination can block (1.9). */
  readonly holdsIntentions: boolean;
  /** Whether chain targets have the partition in their id (1.11). */
  readonly hasPartitions: boolean;
}

/** Returns the traits of a version. */
export function traitsOf(version: ConsulVersion): VersionTraits {
  return TRAITS[version];
}

const OLDEST: VersionTraits = {
  release: '1.8.7',
  hasPeering: false,
  holdsPeerings: false,
  showsPeerRoots: false,
  hasExportedServices: false,
  hasMeshEntries: false,
  refusesUnknownDeregistration: false,
  streamsHealth: false,
  holdsIntentions: false,
  hasPartitions: false,
};
const FIRST_WITH_PEERING = {
  ...OLDEST,
  release: '1.13.9',
  hasPeering: true,
  hasMeshEntries: true,
  streamsHealth: true,
  holdsIntentions: true,
  hasPartitions: true,
};
const BEFORE_HOLDING = {
  ...FIRST_WITH_PEERING,
  release: '1.15.2',
  showsPeerRoots: true,
  refusesUnknownDeregistration: true,
};
const RECORDED = { ...BEFORE_HOLDING, release: '1.16.4', holdsPeerings: true };

const TRAITS: Readonly<Record<ConsulVersion, VersionTraits>> = {
  '1.8': OLDEST,
  '1.13': FIRST_WITH_PEERING,
  '1.15': BEFORE_HOLDING,
  '1.16': RECORDED,
  '1.17': { ...RECORDED, release: '1.17.3', hasExportedServices: true },
};
