import { dirname, isAbsolute, join } from 'node:path';
import { formatProblem, type Problem, type Route } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { type Field, openDocument, type Parsed, parseTimeout, readRouteSettings } from '@meshgate/documents';
import { readBalance } from './balance.ts';
import { type RouteClaim, contested } from './claim.ts';
import { readDestination } from './egress.ts';
import { readFailover } from './failover.ts';
import { readUse } from './part-use.ts';
import { parseExactName, parseServerName } from './server-name.ts';

/** Contents of a route file. */
export interface RouteFile {
  /** All complete routes, in file order. Must not be used while there are problems. */
  readonly routes: readonly Route[];
  /** All problems, in file order. */
  readonly problems: readonly Problem[];
}

/** One of several route files; its claims may conflict with those of another file. */
export interface RouteFilePart extends RouteFile {
  readonly file: string;
  readonly claims: readonly RouteClaim[];
}

/**
 * Parses a route file: YAML, or JSON when the name of `file` ends in `.json`. Pure; never throws.
 *
 * @param file file name for problems and for the `origin` of routes; the file is not opened
 */
export function parseRouteFile(text: string, file: string): RouteFile {
  return mergeRouteFiles([parseRouteFilePart(text, file)]);
}

/** Merges several files: their routes in order, and further problems for names that two routes claim. */
export function mergeRouteFiles(parts: readonly RouteFilePart[]): RouteFile {
  const found = [...parts.flatMap((part) => part.problems), ...contested(parts.flatMap((part) => part.claims))];
  // An aliased node is read once per reference, and repeats its problems.
  const problems = [...new Map(found.map((problem) => [formatProblem(problem), problem])).values()];
  const order = new Map(parts.map(({ file }, index) => [file, index]));
  const rank = ({ at }: Problem): number => order.get(at?.file ?? '') ?? 0;
  problems.sort((a, b) => rank(a) - rank(b) || byPosition(a, b));
  return { routes: parts.flatMap((part) => part.routes), problems };
}

/** Parses a file whose claims {@link mergeRouteFiles} compares with those of other files. */
export function parseRouteFilePart(text: string, file: string): RouteFilePart {
  const opened = openDocument(text, file);
  if (opened.kind === 'broken') return { file, routes: [], claims: [], problems: opened.problems };
  const claims: RouteClaim[] = [];
  const fields = opened.root.record(FILE_KEYS);
  fields?.get('$schema')?.text();
  const routes = fields?.get('routes')?.list() ?? [];
  return {
    file,
    routes: routes.flatMap((route) => readRoute(route, file, claims) ?? []),
    claims,
    problems: opened.problems,
  };
}

/** Keys of a route file. `$schema` is for editors. */
export const FILE_KEYS = { routes: 'required', $schema: 'optional' } as const;

/** Keys of a route. */
export const ROUTE_KEYS = {
  name: 'optional',
  serverNames: 'required',
  listeners: 'optional',
  fallback: 'optional',
  backends: 'optional',
  balance: 'optional',
  connectTimeout: 'optional',
  retryBeforeFirstByte: 'optional',
  onBackendRemoved: 'optional',
  onBackendDown: 'optional',
  healthCheck: 'optional',
  failover: 'optional',
  egress: 'optional',
  access: 'optional',
  limits: 'optional',
  proxyProtocol: 'optional',
  use: 'optional',
} as const;

/** Settings that select among the backends of a route. */
const CHOICES = ['balance', 'healthCheck', 'onBackendDown', 'failover'] as const;

type RouteFields = ReadonlyMap<keyof typeof ROUTE_KEYS, Field>;

function readRoute(route: Field, file: string, claims: RouteClaim[]): Route | undefined {
  const hasEgress = route.shape === 'mapping' && route.entries()?.some(({ key }) => key === 'egress') === true;
  const fields = route.record(hasEgress ? ROUTE_KEYS : { ...ROUTE_KEYS, backends: 'required' });
  if (fields === undefined) return undefined;
  const scope = { ...readListeners(fields), ...readFallback(fields) };
  const serverNames = readServerNames(fields.get('serverNames'), scope.fallback === true);
  const name = fields.has('name') ? fields.get('name')?.parsed(parseRouteName) : serverNames[0]?.name;
  if (scope.fallback === true && serverNames.length === 0 && !fields.has('name'))
    route.refuse('expected the key "name", since there is no server name to name the route after; found none');
  // Pushed one by one: a route may have more names than a call can have arguments.
  for (const claim of claimsOf({ owner: route, fields, name, serverNames, scope })) claims.push(claim);
  const destination = readDestination({
    backends: fields.get('backends'),
    egress: fields.get('egress'),
    serverNames: fields.get('serverNames'),
    fallback: fields.get('fallback'),
    choices: CHOICES.flatMap((key) => fields.get(key) ?? []),
  });
  const options = {
    ...readBalance(fields.get('balance')),
    ...defined({ connectTimeoutMs: fields.get('connectTimeout')?.parsed(parseTimeout) }),
    ...readRouteSettings(fields, {
      toPath: (path) => beside(file, path),
      parseName: parseExactName,
      backends: destination?.backends,
    }),
    ...readFailover(fields.get('failover')),
    ...readUse(fields.get('use')),
    ...originOf(route),
  };
  if (name === undefined || destination === undefined) return undefined;
  const names = serverNames.map((claimed) => claimed.name);
  return { name, kind: 'static', serverNames: names, ...scope, ...destination, ...options };
}

/** Resolves a path in a route file relative to the file's folder. */
function beside(file: string, name: string): string {
  return isAbsolute(name) ? name : join(dirname(file), name);
}

interface ClaimedName {
  readonly name: string;
  readonly field: Field;
}

function readServerNames(list: Field | undefined, mayBeEmpty: boolean): readonly ClaimedName[] {
  const fields = list?.list();
  if (fields?.length === 0 && !mayBeEmpty)
    list?.refuse('expected at least one server name, or fallback: true; found an empty list');
  return (fields ?? []).flatMap((field) => {
    const name = field.parsed(parseServerName);
    return name === undefined ? [] : { name, field };
  });
}

function readListeners(fields: RouteFields): Pick<Route, 'listeners'> {
  const list = fields.get('listeners');
  if (list === undefined) return {};
  const names = list.list();
  if (names?.length === 0) list.refuse('expected at least one listener, found an empty list');
  return { listeners: (names ?? []).flatMap((field) => field.text() ?? []) };
}

function readFallback(fields: RouteFields): Pick<Route, 'fallback'> {
  const fallback = fields.get('fallback')?.boolean();
  return fallback === true ? { fallback } : {};
}

interface Claimant {
  readonly owner: Field;
  readonly fields: RouteFields;
  readonly name: string | undefined;
  readonly serverNames: readonly ClaimedName[];
  readonly scope: Pick<Route, 'listeners' | 'fallback'>;
}

function claimsOf({ owner, fields, name, serverNames, scope }: Claimant): readonly RouteClaim[] {
  const route = name ?? '';
  const { listeners } = scope;
  const claims = serverNames.map((claimed): RouteClaim => {
    return { what: 'server name', value: claimed.name, listeners, route, owner, field: claimed.field };
  });
  const fallback = fields.get('fallback');
  if (fallback !== undefined && scope.fallback === true)
    claims.push({ what: 'fallback', value: '', listeners, route, owner, field: fallback });
  // The first server name is the default name of a route.
  const field = fields.get('name') ?? serverNames[0]?.field;
  if (name !== undefined && field !== undefined) claims.push({ what: 'name', value: name, route, owner, field });
  return claims;
}

/** Long enough for every server name, which may be the default name of a route. */
const MAX_NAME_CHARS = 253;

/** Rejects control characters, since the name is a metric label and a log field. */
function parseRouteName(text: string): Parsed<string> {
  const fits = text.length > 0 && text.length <= MAX_NAME_CHARS && !/[\p{C}]/u.test(text) && text.trim() === text;
  if (fits) return { kind: 'value', value: text };
  return { kind: 'refused', expected: `a string of 1 to ${MAX_NAME_CHARS} printable characters` };
}

/** Returns the position of the route, for `explain`. */
function originOf({ at }: Field): Pick<Route, 'origin'> {
  return at === undefined ? {} : { origin: { file: at.file, line: String(at.line) } };
}

function byPosition({ at: a }: Problem, { at: b }: Problem): number {
  return (a?.line ?? 0) - (b?.line ?? 0) || (a?.column ?? 0) - (b?.column ?? 0);
}
