// Values with their positions, from YAML and JSON texts, from plain values, and from parsers of other languages.
export { openDocument, opened, openingDocument, openValue, positionsIn } from './document.ts';
export type { Language, OpenedDocument } from './document.ts';
export type { Field, FieldContext, FieldEntry, Parsed, DocumentPosition } from './field.ts';
export { DURATION_FORM, MAX_TIMER_MS, parseDuration, parsePoll, parseTimeout } from './duration.ts';

// Files, read once or followed.
export { digestOf, readFiles } from './files.ts';
export type { FilesRead, FileText } from './files.ts';
export { DEFAULT_POLL_MS, followFiles } from './follow-files.ts';
export type {
  FileFollower,
  FileSource,
  FileSubject,
  FollowedValue,
  FollowOptions,
  ParseOutcome,
} from './follow-files.ts';
export { watchPathOf, watchPathTo } from './watch-path.ts';
export type { WatchStep } from './watch-path.ts';

// Address lists of access rules.
export { AddressListFiles, addressListProblems } from './address-list-files.ts';

// Settings of routes that several kinds of sources share.
export { BACKEND_DRAIN_KEYS, BACKEND_DRAINS } from './backend-drain.ts';
export { HEALTH_CHECK_KEYS } from './health-check.ts';
export { ACCESS_KEYS, LIMIT_KEYS, PROXY_PROTOCOLS } from './route-rules.ts';
export { readRouteSettings, ROUTE_SETTING_KEYS } from './route-settings.ts';
export type { RouteSettings, RouteSettingsContext } from './route-settings.ts';

// Rates, as in limits.
export { parseRate, RATE_FORM } from './rate.ts';
