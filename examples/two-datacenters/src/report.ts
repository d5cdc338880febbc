// Output for people: the picture before the run, the results, and what to try.
import { styleText } from 'node:util';
import { formatEndpoint } from '@meshgate/core';
import { apiOf } from './agents.ts';
import type { Binary } from './agents.ts';
import type { Journey } from './journey.ts';
import { pathText } from './judgement.ts';
import type { Hop } from './judgement.ts';
import type { Mesh } from './mesh.ts';
import type { Form } from './options.ts';
import { DATACENTERS, REQUESTS } from './picture.ts';
import type { Program } from './program.ts';
import type { Stage } from './folder.ts';

/** Colours a string, or returns it unchanged. */
export type Paint = (style: 'bold' | 'dim' | 'green' | 'red', text: string) => string;

/** @param isTerminal colours are for terminals only, unless NO_COLOR is set */
export function painter(isTerminal: boolean, noColor: string | undefined): Paint {
  const hasColour = isTerminal && (noColor ?? '') === '';
  return (style, text) => (hasColour ? styleText(style, text) : text);
}

/** An introduction for somebody who has never seen a mesh. No line is longer than 80 columns, here and below. */
export function introduction(paint: Paint): string {
  const bold = (text: string): string => paint('bold', text);
  return `
${bold('Two datacenters, and the services in them, all on this machine.')}

  ${bold('primary')}                                            ${bold('secondary')}
  web ───── sidecar ┐                             ┌ sidecar ─ api
  orders ── sidecar ┼─ gateway ═════════ gateway ─┼ sidecar ─ db
  reports ─ sidecar ┘                             └ sidecar ─ logging

  ${bold('sidecar')}  A small proxy beside each service. The service talks plain text to
           its own sidecar and to nothing else. Sidecars talk TLS to each other,
           and prove their identity by certificates.
  ${bold('gateway')}  The entrance of a datacenter. It forwards TLS by the requested name.
           It has no key: it cannot read what it carries.

Often the gateways are the only path into the other datacenter. When a service
needs one over there, a ${bold('mode')} selects the path of its sidecar:

  ${bold('local')}    Through the gateway of its own datacenter, which forwards to the other.
  ${bold('remote')}   Through the gateway of the other datacenter.
  ${bold('none')}     Directly to the sidecar over there, without gateways.

A mode can be set in four places, in order of precedence: for one upstream of a
service (upstream definition), for an instance of the service (service
instance), for all its instances (service defaults), for every service (proxy
defaults).
`;
}

/** What describes the mesh to the gateways and sidecars. */
export function sourceText(consul: string | undefined, { folder }: Stage, paint: Paint): string {
  const source =
    consul === undefined
      ? 'Files describe all this, and every process reads them; Consul is not needed.'
      : `Files describe all this. They are registered with Consul ${consul}, with an agent in\neach datacenter, which the processes there query.`;
  return `${source}\n  ${paint('bold', `${folder}/mesh`)}\n`;
}

/** Results for programs. */
export interface Findings {
  readonly form: Form;
  /** Version of Consul, if used. */
  readonly consul: string | undefined;
  /** Removed when the demonstration has ended. */
  readonly folder: string;
  readonly programs: readonly Program[];
  readonly journeys: readonly Journey[];
}

/** The same as {@link tableText}, and more, for programs. */
export function jsonText({ form, consul, folder, programs, journeys }: Findings): string {
  const processes = programs.map(({ name, pid, logFile }) => ({ name, pid, logFile }));
  const requests = journeys.map((journey) => ({ ...journey, asExpected: isRight(journey) }));
  return `${JSON.stringify({ form, consul, folder, requests, processes }, null, 2)}\n`;
}

/** The requests, one a line, each followed by its deviations. Fits on 80 columns. */
export function tableText(journeys: readonly Journey[], paint: Paint): string {
  const rows = journeys.map((journey) => [
    `${journey.from} → ${journey.to}`,
    modeText(journey),
    journey.decidedBy || '-',
    journey.hops.length === 0 ? '-' : pathText(journey.gateways),
    resultText(journey),
  ]);
  const [head = '', ...lines] = columns([['UPSTREAM', 'MODE', 'DECIDED BY', 'PATH TAKEN', 'RESULT'], ...rows]);
  const observed = journeys.flatMap(({ from, to, problems }) =>
    problems.map((problem) => `${from} → ${to}: ${problem}`),
  );
  const body = lines.map((line, index) => (isRight(journeys[index]) ? line : paint('red', line)));
  return [paint('bold', head), ...body, ...observed.map((text) => paint('red', text)), verdict(journeys, paint)].join(
    '\n',
  );
}

/** All facts about one request. */
export function traceText({ from, to, explained, hops }: Journey, { folder }: Stage, paint: Paint): string {
  const [reason = '', ...others] = explained.replaceAll(`${folder}/mesh/`, '').split('; ');
  const lines = hops.map(({ by, dialled, proved }) => [by, `dialled ${dialled}`, knownText(proved)]);
  return [
    paint('bold', `The path of ${from} → ${to}, from the logs of the proxies on it:`),
    ...columns(lines).map((line) => `  ${line}`),
    'The requested name, which is all that a gateway reads:',
    `  ${hops.find(({ serverName }) => serverName !== undefined)?.serverName ?? 'none'}`,
    `The mode is ${reason}`,
    ...others.map((text) => `  ${text}`),
  ].join('\n');
}

/** What to look at and to try while it runs. */
export function closing({ folder, at }: Stage, consul: Binary | undefined, mesh: Mesh, paint: Paint): string {
  const programs = [...mesh.gateways, ...mesh.sidecars].map(({ program, admin }) => [program.name, admin]);
  const agents = DATACENTERS.map((datacenter) => [`Consul of ${datacenter}`, `${apiOf(datacenter, { at })}/ui`]);
  const requests = REQUESTS.map(({ from, to, at: location }) => [
    `curl http://${formatEndpoint(at(location))}/`,
    `${from} → ${to}`,
  ]);
  const querying = `node apps/gateway/dist/main.js routes --admin ${mesh.sidecars[0]?.admin ?? ''}`;
  const file = `${folder}/mesh/primary/proxy-defaults.hcl`;
  const indented = (rows: readonly (readonly string[])[]): readonly string[] => columns(rows).map((row) => `  ${row}`);
  return [
    paint('bold', 'To look at: /routes, /connections, /metrics and more of each'),
    ...indented([...programs, ...(consul === undefined ? [] : agents)]),
    '',
    paint('bold', 'To try in another terminal, as the applications do'),
    ...indented([...requests, [querying]]),
    '',
    paint('bold', 'To change: the path of reports → api. Write none or remote for local in'),
    `  ${file}`,
    ...(consul === undefined
      ? ['Takes effect within a second. A mistake changes nothing, and is reported in', `  ${folder}/logs`]
      : [`and then`, `  ${consul.path} config write \\\n    -http-addr=${apiOf('primary', { at })} ${file}`]),
    '',
  ].join('\n');
}

function isRight(journey: Journey | undefined): boolean {
  return journey?.problems.length === 0;
}

/** Without a gateway on the path the mode does not matter. */
function modeText({ mode, decidedBy }: Journey): string {
  return decidedBy === 'same datacenter' ? 'any' : mode || '-';
}

function resultText({ response, tookMs, problems }: Journey): string {
  if (response === undefined) return 'no response';
  return `${problems.length === 0 ? 'ok' : 'wrong'}, ${Math.round(tookMs)} ms`;
}

function verdict(journeys: readonly Journey[], paint: Paint): string {
  const right = journeys.filter(isRight).length;
  if (right === journeys.length)
    return paint('green', `All ${right} as expected, by the counters and the access logs of both gateways.`);
  return paint('red', `${journeys.length - right} of ${journeys.length} not as expected.`);
}

function knownText(proved: Hop['proved']): string {
  if (proved === undefined) return 'sees only the name';
  const [, datacenter, service] = /\/dc\/([^/]+)\/svc\/([^/]+)$/.exec(proved) ?? [];
  return `${service} of ${datacenter} proved itself`;
}

/** Columns as wide as their widest cell, two spaces apart. */
export function columns(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_cell, column) =>
    // A cell with none after it may be as long as it wants.
    Math.max(...rows.filter((row) => column < row.length - 1).map((row) => row[column]?.length ?? 0), 0),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
