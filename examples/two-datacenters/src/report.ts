// What a person is told: the picture before it runs, what happened, and where to look on.
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

/** Colours a text, or leaves it as it is. */
export type Paint = (style: 'bold' | 'dim' | 'green' | 'red', text: string) => string;

/** @param isTerminal colours are for terminals only, and not for those of NO_COLOR */
export function painter(isTerminal: boolean, noColor: string | undefined): Paint {
  const hasColour = isTerminal && (noColor ?? '') === '';
  return (style, text) => (hasColour ? styleText(style, text) : text);
}

/** What will run, in the words of somebody who has never seen a mesh. No line is longer than 80 columns, here and below. */
export function introduction(paint: Paint): string {
  const bold = (text: string): string => paint('bold', text);
  return `
${bold('Two datacenters, and the services in them, all on this machine.')}

  ${bold('primary')}                                            ${bold('secondary')}
  web ───── sidecar ┐                             ┌ sidecar ─ api
  orders ── sidecar ┼─ gateway ═════════ gateway ─┼ sidecar ─ db
  reports ─ sidecar ┘                             └ sidecar ─ logging

  ${bold('sidecar')}  A small proxy beside each service. The service talks plain text to
           its own sidecar and to nobody else. Sidecars talk TLS to each other,
           and prove by certificates for which service they speak.
  ${bold('gateway')}  The door of a datacenter. It passes TLS on by the name that is asked
           for. It has no key: it cannot read what it carries.

Often no way leads into the other datacenter but by the gateways. So when a
service needs one over there, a ${bold('mode')} says how its sidecar gets to it:

  ${bold('local')}    By the gateway of its own datacenter, which passes on to the other.
  ${bold('remote')}   By the gateway of the other datacenter.
  ${bold('none')}     To the sidecar over there itself, past the gateways.

A mode may be set in four places; the first of them that sets one decides: where
a service names what it needs (upstream definition), for that instance of the
service (service instance), for all its instances (service defaults), for every
service (proxy defaults).
`;
}

/** Who tells the gateways and sidecars what there is. */
export function sourceText(consul: string | undefined, { folder }: Stage, paint: Paint): string {
  const source =
    consul === undefined
      ? 'Files describe all this, and everybody reads them; Consul is not needed.'
      : `Files describe all this. They are registered with Consul ${consul}, an agent in each\ndatacenter, and everybody asks the agent of its own.`;
  return `${source}\n  ${paint('bold', `${folder}/mesh`)}\n`;
}

/** What was found out, for programs. */
export interface Findings {
  readonly form: Form;
  /** Release of Consul, where it takes part. */
  readonly consul: string | undefined;
  /** Gone when the demonstration has ended. */
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

/** The requests, one a line, and below it what is wrong with them. Fits on 80 columns. */
export function tableText(journeys: readonly Journey[], paint: Paint): string {
  const rows = journeys.map((journey) => [
    `${journey.from} → ${journey.to}`,
    modeText(journey),
    journey.decidedBy || '-',
    journey.hops.length === 0 ? '-' : pathText(journey.gateways),
    resultText(journey),
  ]);
  const [head = '', ...lines] = columns([['UPSTREAM', 'MODE', 'DECIDED BY', 'PATH TAKEN', 'RESULT'], ...rows]);
  const told = journeys.flatMap(({ from, to, problems }) => problems.map((problem) => `${from} → ${to}: ${problem}`));
  const body = lines.map((line, index) => (isRight(journeys[index]) ? line : paint('red', line)));
  return [paint('bold', head), ...body, ...told.map((text) => paint('red', text)), verdict(journeys, paint)].join('\n');
}

/** Everything that is known of one request. */
export function traceText({ from, to, explained, hops }: Journey, { folder }: Stage, paint: Paint): string {
  const [reason = '', ...others] = explained.replaceAll(`${folder}/mesh/`, '').split('; ');
  const lines = hops.map(({ by, dialled, proved }) => [by, `dialled ${dialled}`, knownText(proved)]);
  return [
    paint('bold', `The way of ${from} → ${to}, from the logs of those who carried it:`),
    ...columns(lines).map((line) => `  ${line}`),
    'The name asked for, which is all that a gateway reads:',
    `  ${hops.find(({ serverName }) => serverName !== undefined)?.serverName ?? 'none'}`,
    `The mode is ${reason}`,
    ...others.map((text) => `  ${text}`),
  ].join('\n');
}

/** What to look at and to try while it goes on. */
export function farewell({ folder, at }: Stage, consul: Binary | undefined, mesh: Mesh, paint: Paint): string {
  const programs = [...mesh.gateways, ...mesh.sidecars].map(({ program, admin }) => [program.name, admin]);
  const agents = DATACENTERS.map((datacenter) => [`Consul of ${datacenter}`, `${apiOf(datacenter, { at })}/ui`]);
  const requests = REQUESTS.map(({ from, to, at: place }) => [
    `curl http://${formatEndpoint(at(place))}/`,
    `${from} → ${to}`,
  ]);
  const asking = `node apps/gateway/dist/main.js routes --admin ${mesh.sidecars[0]?.admin ?? ''}`;
  const file = `${folder}/mesh/primary/proxy-defaults.hcl`;
  const indented = (rows: readonly (readonly string[])[]): readonly string[] => columns(rows).map((row) => `  ${row}`);
  return [
    paint('bold', 'To look at: /routes, /connections, /metrics and more of each'),
    ...indented([...programs, ...(consul === undefined ? [] : agents)]),
    '',
    paint('bold', 'To try in another terminal, as the applications do'),
    ...indented([...requests, [asking]]),
    '',
    paint('bold', 'To change: the way of reports → api. Write none or remote for local in'),
    `  ${file}`,
    ...(consul === undefined
      ? ['It holds within a second. A mistake in it changes nothing, and is reported in', `  ${folder}/logs`]
      : [`and then`, `  ${consul.path} config write \\\n    -http-addr=${apiOf('primary', { at })} ${file}`]),
    '',
  ].join('\n');
}

function isRight(journey: Journey | undefined): boolean {
  return journey?.problems.length === 0;
}

/** Where nobody needs a gateway the mode has no say. */
function modeText({ mode, decidedBy }: Journey): string {
  return decidedBy === 'same datacenter' ? 'any' : mode || '-';
}

function resultText({ answer, tookMs, problems }: Journey): string {
  if (answer === undefined) return 'no answer';
  return `${problems.length === 0 ? 'ok' : 'wrong'}, ${Math.round(tookMs)} ms`;
}

function verdict(journeys: readonly Journey[], paint: Paint): string {
  const right = journeys.filter(isRight).length;
  if (right === journeys.length)
    return paint('green', `All ${right} as expected: so say the counters and the access logs of both gateways.`);
  return paint('red', `${journeys.length - right} of ${journeys.length} not as expected.`);
}

function knownText(proved: Hop['proved']): string {
  if (proved === undefined) return 'knows the name alone';
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
