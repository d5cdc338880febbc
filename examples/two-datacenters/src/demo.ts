// The whole demonstration, from top to bottom.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { binaryAt, register, startAgents } from './agents.ts';
import type { Binary } from './agents.ts';
import { startApplications } from './application.ts';
import { Company } from './company.ts';
import { travel } from './journey.ts';
import type { Journey } from './journey.ts';
import { startMesh, untilReady } from './mesh.ts';
import type { Mesh } from './mesh.ts';
import type { Form, Options } from './options.ts';
import { REQUESTS } from './picture.ts';
import type { Progress } from './progress.ts';
import { closing, introduction, jsonText, sourceText, tableText, traceText } from './report.ts';
import type { Paint } from './report.ts';
import { issueCertificates, setUp } from './stage.ts';
import type { Stage } from './folder.ts';

/** The environment of a demonstration, besides its options. */
export interface Environment {
  readonly progress: Progress;
  readonly paint: Paint;
  /** Output for programs. */
  readonly stdout: { write(text: string): unknown };
  /** Where a user can press Enter; `undefined` without a terminal. */
  readonly keyboard: NodeJS.ReadableStream | undefined;
  /** A Consul binary on this machine. */
  readonly consul: string | undefined;
  /** Aborted to end it. */
  readonly signal: AbortSignal;
  /** Registers a callback for an immediate exit of the process. */
  onExit(clean: () => void): void;
}

/**
 * Runs it until it is stopped, or once; then cleans up.
 *
 * @returns whether each request took the expected path; `undefined` when it was stopped before
 * @throws Error when something cannot be started, or exits unexpectedly
 */
export async function demonstrate(options: Options, around: Environment): Promise<boolean | undefined> {
  const binary =
    options.form === 'mesh-files' || around.consul === undefined ? undefined : await binaryAt(around.consul);
  const form = binary === undefined ? 'mesh-files' : 'consul';
  await using stage = await setUp(form, options);
  const company = await Company.gather(join(stage.folder, 'logs'));
  around.onExit(() => {
    company.kill();
    rmSync(stage.folder, { recursive: true, force: true });
  });
  const over = new AbortController();
  const verdicts: boolean[] = [];
  const show = perform({ form, binary, options, stage, company, around, signal: over.signal }, verdicts);
  try {
    await Promise.race([show, company.deserted, untilAborted(around.signal)]);
    return verdicts.at(-1);
  } finally {
    over.abort();
    await company[Symbol.asyncDispose]();
    // Everything it has started must have exited before the folder is removed.
    await show.catch(() => undefined);
  }
}

interface Performance {
  readonly form: Form;
  readonly binary: Binary | undefined;
  readonly options: Options;
  readonly stage: Stage;
  readonly company: Company;
  readonly around: Environment;
  /** Aborted when it has ended for any reason. */
  readonly signal: AbortSignal;
}

/** @param verdicts receives one after each round: whether all requests went as expected */
async function perform(show: Performance, verdicts: boolean[]): Promise<void> {
  const { form, binary, options, stage, around } = show;
  const { progress, paint } = around;
  progress.print(introduction(paint));
  progress.print(sourceText(binary?.version, stage, paint));
  for (const line of stage.moved) progress.print(line);
  const mesh = await startAll(show);

  const journeys = await round(mesh, stage, 'written');
  verdicts.push(isAllRight(journeys));
  notify(journeys, around);
  const [, second] = journeys;
  if (second !== undefined) progress.print(`${traceText(second, stage, paint)}\n`);
  const { folder } = stage;
  if (options.json)
    around.stdout.write(jsonText({ form, consul: binary?.version, folder, programs: show.company.programs, journeys }));
  if (options.once) return;
  progress.print(closing(stage, binary, mesh, paint));
  await goOn(mesh, show, verdicts);
}

async function startAll({ form, binary, stage, company, around, signal }: Performance): Promise<Mesh> {
  const { progress } = around;
  await company.keep(await startApplications(stage));
  if (binary === undefined) await progress.during('certificates, for this run only', () => issueCertificates(stage));
  else {
    await progress.during('two Consul agents, joined', () => startAgents(binary, stage, company, signal));
    await progress.during('the files registered with them', () => register(binary, stage));
  }
  const mesh = startMesh(form, stage, company);
  const what = `${mesh.gateways.length} gateways and ${mesh.sidecars.length} sidecars, ready`;
  await progress.during(what, () => untilReady(mesh, signal));
  return mesh;
}

/** One after the other, so that changes of the counters belong to one request. */
async function round(mesh: Mesh, stage: Stage, expecting: 'written' | 'reported'): Promise<readonly Journey[]> {
  const journeys: Journey[] = [];
  for (const request of REQUESTS) journeys.push(await travel(request, mesh, stage, expecting));
  return journeys;
}

function notify(journeys: readonly Journey[], { progress, paint }: Environment): void {
  progress.print(`\n${tableText(journeys, paint)}\n`);
}

function isAllRight(journeys: readonly Journey[]): boolean {
  return journeys.every(({ problems }) => problems.length === 0);
}

/** Until it ends. After changing a file the user may want to see the table again. */
async function goOn(mesh: Mesh, { stage, around, signal }: Performance, verdicts: boolean[]): Promise<void> {
  const { keyboard, progress, paint } = around;
  const over = untilAborted(signal);
  if (keyboard === undefined) {
    progress.print(paint('bold', 'Ctrl-C ends everything.'));
    return over;
  }
  // Not as a terminal: Ctrl-C must remain a signal.
  const lines = createInterface({ input: keyboard, terminal: false })[Symbol.asyncIterator]();
  const isPressed = async (): Promise<boolean> => (await Promise.race([lines.next(), over]))?.done === false;
  const query = (): void => progress.print(paint('bold', 'Enter sends the requests again. Ctrl-C ends everything.'));
  for (query(); await isPressed(); query()) {
    const journeys = await round(mesh, stage, 'reported');
    verdicts.push(isAllRight(journeys));
    notify(journeys, around);
  }
  return over;
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}
