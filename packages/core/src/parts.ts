// The parts that a proxy is composed of, in the order in which a connection passes them, for programs with a
// composition of their own. They are not stable: any minor version may change them.
export { Listener } from './pipeline/listener.ts';
export type { ListenerOptions } from './pipeline/listener.ts';
export { Listeners, listenerSources } from './pipeline/listeners.ts';
export type { ListenersOptions, ListenerStatus, BoundSocket } from './pipeline/listeners.ts';
export { Access, accessByListener } from './pipeline/access.ts';
export type { AddressLists } from './pipeline/access.ts';
export { ADDRESS_OR_BLOCK_FORM, addressSet, AddressSetBuilder, isAddressOrBlock } from './pipeline/address-set.ts';
export type { AddressSet } from './pipeline/address-set.ts';
export { readAddress } from './pipeline/ip-address.ts';
export type { Family } from './pipeline/ip-address.ts';
export { FailoverGroups, isInService, priorityGroups } from './pipeline/failover-groups.ts';
export type { HeldGroup, PriorityGroup } from './pipeline/failover-groups.ts';
export { Admission } from './pipeline/admission.ts';
export type { AdmissionOptions } from './pipeline/admission.ts';
export { Sessions } from './pipeline/sessions.ts';
export type { SessionState, LiveConnection, Stages } from './pipeline/session.ts';
export { firstOf, firstToKnow, layered } from './pipeline/stages.ts';
export { RouteStore } from './routes/route-store.ts';
export type { RouteStoreOptions } from './routes/route-store.ts';
export type { SourceState, SourceStatus } from './watch/source-follower.ts';
export { lastKnownGood, lastKnownListeners } from './watch/stored-snapshots.ts';
export type { StoredSnapshot, ListenerStore, SnapshotStore } from './watch/stored-snapshots.ts';
export { inSlices } from './routes/route-slices.ts';
export { indexRoutes, RouteTable } from './routes/route-table.ts';
export type { Match, MatchKind, RouteIndex } from './routes/route-table.ts';
export { balancedConnector } from './pipeline/connect.ts';
export { nearestOf } from './pipeline/candidates.ts';
export type { Preference } from './pipeline/candidates.ts';
export type { BalancedConnector, ConnectorOptions } from './pipeline/connect.ts';
export { BackendHealth } from './health/backend-health.ts';
export type { HealthMark } from './health/backend-health.ts';
export { HealthChecks } from './health/health-checks.ts';
export type { HealthChecksOptions } from './health/health-checks.ts';
export type { AddressReport, CheckReport } from './health/checked-backend.ts';
export type { CheckState } from './health/address-state.ts';
export { egressConnector } from './egress/egress-connector.ts';
export type { EgressOptions } from './egress/egress-connector.ts';
export { AddressBook } from './names/address-book.ts';
export { ResolutionError } from './names/resolution.ts';
export type { NameSystem, Resolution, ResolutionFailure } from './names/resolution.ts';
export { systemNames } from './names/system-names.ts';
export type { SystemNamesOptions } from './names/system-names.ts';
export { RecentTroubles } from './pipeline/recent-troubles.ts';
export { DEFAULT_OUTLIERS, Outliers } from './pipeline/outliers.ts';
export type { OutlierOptions } from './pipeline/outliers.ts';
export { withListen } from './transport/with-listen.ts';
export { dialFailure, dialTimeout, undiallable } from './transport/dial-failure.ts';
export { isHarmlessLoss } from './transport/harmless-loss.ts';
export type { Carried } from './transport/harmless-loss.ts';
export { isPassedOn, RESET_OF } from './transport/passed-reset.ts';
export type { ConnectionEnd } from './transport/passed-reset.ts';
export { longestSilenceMs, silenceError } from './transport/silence.ts';
export {
  bindPath,
  canBeShared,
  descriptorOf,
  inheritedHandle,
  removePath,
  sharedPath,
} from './transport/node-listening.ts';
export type { SharedSocket } from './transport/node-listening.ts';
export { replacingStale } from './transport/stale-socket.ts';
export { isWildcard, portProblem } from './transport/endpoint.ts';
export { formatDuration } from './duration.ts';
export { upgradeConnection } from './transport/node-transport.ts';
export type { UpgradeOptions } from './transport/node-connection.ts';
export { isAnyAddress, isLocalAddress, leadsBack, leadsTo, overlap, plainHost } from './transport/own-addresses.ts';
export { observers } from './observe.ts';
export { Drain } from './lifecycle/drain.ts';
export type { DrainReason, DrainTargets } from './lifecycle/drain.ts';
export { Departures } from './lifecycle/departures.ts';
export type { DeparturesOptions } from './lifecycle/departures.ts';
export { HOOK_TIMEOUT_MS, runDrainHooks } from './lifecycle/drain-hooks.ts';
export type { HookControl } from './lifecycle/drain-hooks.ts';
export { formatRate } from './token-bucket.ts';
export { routeRules } from './pipeline/route-rules.ts';
export type { RouteRulesOptions } from './pipeline/route-rules.ts';
export { offeredBalances, withUsedLayers, withUsedResolvers } from './pipeline/used-parts.ts';
export { PartsCollector, withoutSettings } from './lifecycle/plugin-parts.ts';
export type {
  HostServices,
  OfferedPart,
  OfferedParts,
  OpenHost,
  PartSizes,
  PluginParts,
} from './lifecycle/plugin-parts.ts';
export { inOrder, stopInReverse } from './lifecycle/service.ts';
export type { PreparedChange } from './lifecycle/service.ts';

// The kernel of everything watched: sources, credentials, files and agent responses.
export { aborted, onAbort, openScope, settlesWithin, unlessAborted } from './watch/scope.ts';
export type { Scope } from './watch/scope.ts';
export { Cell } from './watch/cell.ts';
export { defined } from './defined.ts';
export { errorOf } from './errors.ts';
export { readRegularFile, readRegularFileSync, utf8In } from './regular-file.ts';
export { answered, failed, NO_READING } from './watch/reading.ts';
export type { Freshness, Reading } from './watch/reading.ts';
export { RecentlyUsed } from './watch/recently-used.ts';
export type { RecentlyUsedOptions } from './watch/recently-used.ts';
export { Refreshed } from './watch/refreshed.ts';
export type { Stamped } from './watch/refreshed.ts';
export { follow } from './watch/follow.ts';
export type { FollowEnd, Follower } from './watch/follow.ts';
export { SourceSet } from './watch/source-set.ts';
export type { Replaced } from './watch/source-set.ts';
export { Watched, WatchSet } from './watch/watch-set.ts';
export type { Watch, WatchOptions } from './watch/watch-set.ts';
export { QuerySet } from './watch/query-set.ts';
export type { Query, QuerySetOptions } from './watch/query-set.ts';
export { atOnce, inTurns } from './watch/turns.ts';
export { backoff } from './watch/backoff.ts';
export { PatientTimer } from './watch/patient-timer.ts';
export type { BackoffOptions } from './watch/backoff.ts';
