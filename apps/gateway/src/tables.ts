import { formatEndpoint } from '@meshgate/core';
import type { Explanation, ExplainedBackend } from './explain.ts';
import type { BackendView, RoutesView } from './views.ts';

/** The answer of `meshgate routes`, for people. */
export function routesText({ routes, sources }: RoutesView): string {
  const rows = [...routes].map(({ name, source, kind = '', serverNames, backends }) => [
    name,
    serverNames.join(' '),
    backends.map(backendText).join(' ') || 'none',
    kind,
    source,
  ]);
  const troubles = sources.flatMap(({ name, state, error, warnings }) => [
    ...(state === 'current' ? [] : [`source ${name} is ${state}${error === undefined ? '' : `: ${error}`}`]),
    ...warnings.map((warning) => `source ${name}: ${warning}`),
  ]);
  return lines([...table(['ROUTE', 'SERVER NAMES', 'BACKENDS', 'KIND', 'SOURCE'], rows), ...troubles]);
}

/** The answer of `meshgate explain`, for people. */
export function explanationText(explanation: Explanation): string {
  const { serverName, why } = explanation;
  if (!explanation.found) {
    const hints = explanation.nearest.length === 0 ? [] : [`nearest names: ${explanation.nearest.join(', ')}`];
    return lines([`${serverName}: no route, ${why}`, ...hints]);
  }
  const { route, kind, source, origin = {}, backends, shadowed } = explanation;
  return lines([
    `${serverName}: route ${route}, ${why}`,
    ...table(
      [],
      [
        ['source', source],
        ...(kind === undefined ? [] : [['kind', kind]]),
        ...Object.entries(origin),
        ...shadowed.map((other) => ['shadows', `${other.route} (${other.pattern} of ${other.source})`]),
      ],
    ),
    ...table(
      ['BACKEND', 'WEIGHT', 'STATE'],
      backends.map((one) => [addressText(one), String(one.weight), stateText(one)]),
    ),
    ...(backends.length === 0 ? ['no backend: connections end with NO_BACKEND'] : []),
  ]);
}

function backendText(backend: BackendView): string {
  return `${addressText(backend)}${backend.healthy ? '' : ' (unhealthy)'}`;
}

function addressText({ host, port }: BackendView): string {
  return formatEndpoint({ host, port });
}

function stateText({ healthy, ejected }: ExplainedBackend): string {
  return [healthy ? 'healthy' : 'unhealthy', ...(ejected ? ['put aside after failures'] : [])].join(', ');
}

/** Columns as wide as their widest cell, two spaces apart; without a header when there is none, and empty without rows. */
function table(header: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const all = header.length === 0 ? rows : [header, ...rows];
  const widths = (all[0] ?? []).map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join('');
}
