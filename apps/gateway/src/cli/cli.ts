import { existsSync } from 'node:fs';
import type { ProxyChoice } from '@meshgate/consul-source';
import { ConfigProblems, formatEndpoint, formatProblem } from '@meshgate/core';
import { Command, CommanderError, Option } from 'commander';
import { amending } from '../config/amend-config.ts';
import { DEFAULT_ADMIN } from '../config/config-schema.ts';
import { describe } from '../config/config-words.ts';
import { commandSettings, CONSUL_FLAGS, SIDECAR_FLAGS, withTwoDashes } from './consul-flags.ts';
import type { ConsulFlags, Environment, FlagDefinition } from './consul-flags.ts';
import { askedName, isExact } from './explain.ts';
import type { Explanation } from './explain.ts';
import { loadConfig } from '../config/load-config.ts';
import { queriesOf, queriesTo } from '../admin/route-queries.ts';
import type { RouteQueries } from '../admin/route-queries.ts';
import { serve } from '../run/serve.ts';
import type { Signals } from '../run/serve.ts';
import { loadSidecar } from '../sidecar/load-sidecar.ts';
import { serveSidecar } from '../sidecar/serve-sidecar.ts';
import { explanationText, routesText } from './tables.ts';
import { VERSION } from './version.ts';

/** What a command line has to do with beside itself. */
export interface Terminal {
  readonly stdout: Output;
  readonly stderr: Pick<Output, 'write'>;
  readonly signals: Signals;
  readonly env: Environment;
}

interface Output {
  readonly fd: number;
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** 0: done. 1: it failed at run time, or connections were cut. 2: the command line or the configuration is wrong. */
export type ExitStatus = 0 | 1 | 2;

/** Runs the command that `args` name, to its end. Never rejects: what goes wrong is said on standard error. */
export async function runCommand(args: readonly string[], terminal: Terminal): Promise<ExitStatus> {
  let status: ExitStatus = 0;
  try {
    await commands(terminal, (ended) => (status = ended)).parseAsync(withTwoDashes(args), { from: 'user' });
    return status;
  } catch (reason) {
    // Commander has said what is wrong with the command line. Help and version are no failures.
    if (reason instanceof CommanderError) return reason.exitCode === 0 ? 0 : 2;
    terminal.stderr.write(`${wordsFor(reason)}\n`);
    return reason instanceof ConfigProblems ? 2 : 1;
  }
}

function commands(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  const { stdout, stderr } = terminal;
  const program = new Command('meshgate')
    .description('Routes TLS by server name, undecrypted')
    .version(RELEASE, '-V, --version', 'show the release')
    .exitOverride()
    .configureOutput({ writeOut: (text) => stdout.write(text), writeErr: (text) => stderr.write(text) })
    .showSuggestionAfterError();
  // Settings of the program hold for commands that are made by it, from here on.
  withFlags(program.command('gateway').description('run a mesh gateway until it is told to leave'), CONSUL_FLAGS)
    .option('-c, --config <file>', `configuration file (default: ${DEFAULT_FILE}, if it is there)`)
    .option('--check', 'look through the configuration and everything that it names, and exit')
    .action(async (options: GatewayFlags) => end(await gateway(options, terminal)));
  withFlags(program.command('sidecar').description('run a Connect proxy until it is told to leave'), SIDECAR_FLAGS)
    .option('-c, --config <file>', 'configuration file (default: none, everything comes from Consul)')
    .option('--check', 'look through the configuration and everything that it names, and exit')
    .action(async (options: SidecarFlags) => end(await sidecar(options, terminal)));
  withQuestionFlags(program.command('routes').description('show the route table')).action(
    async (flags: QuestionFlags) => {
      const view = await queriesFor(flags, terminal).routes();
      stdout.write(flags.json === true ? toJson({ ...view, routes: [...view.routes] }) : routesText(view));
    },
  );
  withQuestionFlags(program.command('explain').description('say which route takes a server name, and why'))
    .argument('<server-name>')
    .option('--listener <name>', 'listener that the client comes to (default: any)')
    .action(async (text: string, flags: ExplainFlags) => {
      const explanation = await explained(text, queriesFor(flags, terminal), flags.listener);
      stdout.write(flags.json === true ? toJson(explanation) : explanationText(explanation));
      end(explanation.found ? 0 : 1);
    });
  program
    .command('version')
    .description('show the release')
    .action(() => void stdout.write(`${RELEASE}\n`));
  return program;
}

const RELEASE = `meshgate ${VERSION} (Node.js ${process.versions.node})`;

interface GatewayFlags extends ConsulFlags {
  readonly config?: string;
  readonly check?: boolean;
}

async function gateway(
  { config, check = false, ...flags }: GatewayFlags,
  { stdout, signals, env }: Terminal,
): Promise<ExitStatus> {
  const settings = commandSettings(flags, env, process.cwd());
  const file = config ?? defaultFile(settings.byFlag || settings.byEnvironment);
  const amend = amending(settings, settings.byFlag || file === undefined);
  if (!check) return serve({ file, amend }, { fd: stdout.fd, isTerminal: stdout.isTTY === true }, signals);
  const { parts, warnings } = await loadConfig(file, amend);
  for (const warning of warnings) stdout.write(`warning: ${warning}\n`);
  stdout.write(`${file ?? 'command line'}: fine; sources: ${parts.sources.map(({ name }) => name).join(', ')}\n`);
  return 0;
}

interface SidecarFlags extends GatewayFlags {
  readonly sidecarFor?: string;
}

async function sidecar(
  { config: file, check = false, sidecarFor, proxyId, ...flags }: SidecarFlags,
  { stdout, signals, env }: Terminal,
): Promise<ExitStatus> {
  const choice = proxyChoice(sidecarFor, proxyId);
  const settings = commandSettings(flags, env, process.cwd());
  const place = { file, amend: amending(settings, settings.byFlag || file === undefined) };
  if (!check) return serveSidecar(place, choice, { fd: stdout.fd, isTerminal: stdout.isTTY === true }, signals);
  const { material } = await loadSidecar(place.file, place.amend, choice);
  stdout.write(`${file ?? 'command line'}: fine; source: ${material.proxy.name}\n`);
  return 0;
}

function proxyChoice(sidecarFor: string | undefined, proxyId: string | undefined): ProxyChoice {
  if (proxyId !== undefined && sidecarFor === undefined) return { proxyId };
  if (sidecarFor !== undefined && proxyId === undefined) return { sidecarFor };
  const found = proxyId === undefined ? 'neither' : 'both';
  throw new ConfigProblems([{ message: `expected --sidecar-for or --proxy-id, found ${found}`, path: [] }]);
}

function withFlags(command: Command, flags: readonly FlagDefinition[]): Command {
  for (const { flag, description, repeatable } of flags) {
    const option = new Option(flag, description);
    const gather = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];
    command.addOption(repeatable === true ? option.argParser(gather) : option);
  }
  return command;
}

interface QuestionFlags {
  readonly admin?: string;
  readonly config?: string;
  readonly json?: boolean;
}

interface ExplainFlags extends QuestionFlags {
  readonly listener?: string;
}

const DEFAULT_ADMIN_URL = `http://${formatEndpoint(DEFAULT_ADMIN)}`;

function withQuestionFlags(command: Command): Command {
  return command
    .addOption(new Option('--admin <url>', `gateway to ask (default: ${DEFAULT_ADMIN_URL})`).conflicts('config'))
    .option('-c, --config <file>', 'look into a configuration instead')
    .option('--json', 'for programs');
}

/** @throws ConfigProblems when no client can ask for it and no route has it: then it is no question for a route table */
async function explained(text: string, queries: RouteQueries, listener?: string): Promise<Explanation> {
  const asked = askedName(text);
  if (asked.kind === 'name') return queries.explain(asked.serverName, listener);
  const explanation = await queries.explain(text, listener).catch(() => undefined);
  if (explanation !== undefined && isExact(explanation)) return explanation;
  throw new ConfigProblems([{ message: asked.why, path: [] }]);
}

function queriesFor({ admin = DEFAULT_ADMIN_URL, config }: QuestionFlags, { env }: Terminal): RouteQueries {
  if (config === undefined) return queriesTo(adminUrl(admin));
  return queriesOf(config, amending(commandSettings({}, env, process.cwd()), false));
}

/** @throws ConfigProblems when nobody can be asked there: `localhost:19000` is a URL, too, of the scheme `localhost` */
function adminUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  const message = `expected --admin to be a URL such as ${DEFAULT_ADMIN_URL}, found ${describe(text)}`;
  throw new ConfigProblems([{ message, path: [] }]);
}

const DEFAULT_FILE = 'meshgate.yaml';

/**
 * @param needless whether it goes without one
 * @throws ConfigProblems when there is none and one is needed: it shows the smallest that would do
 */
function defaultFile(needless: boolean): string | undefined {
  if (existsSync(DEFAULT_FILE)) return DEFAULT_FILE;
  if (needless) return undefined;
  const message = `expected --config FILE or a file ${DEFAULT_FILE} in this folder, found neither; this is enough of one:\n\n${SMALLEST}`;
  throw new ConfigProblems([{ message, path: [] }]);
}

const SMALLEST = `    listeners: [ { address: 127.0.0.1, port: 8443 } ]
    sources: [ { use: file, path: routes.yaml } ]

and of a routes.yaml beside it:

    routes:
      - serverNames: [ api.example.com ]
        backends: [ { address: 10.0.0.1, port: 8443 } ]

or, with Consul, no file at all: meshgate gateway --register --address IP:PORT`;

function toJson(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function wordsFor(reason: unknown): string {
  if (reason instanceof ConfigProblems) return reason.problems.map(formatProblem).join('\n');
  return `meshgate: ${reason instanceof Error ? reason.message : String(reason)}`;
}
