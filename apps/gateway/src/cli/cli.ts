import { existsSync } from 'node:fs';
import type { ProxyChoice } from '@meshgate/mesh';
import { ConfigProblems } from '@meshgate/core';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { amending } from '../config/amend-config.ts';
import { adminAddress, clientOf, DEFAULT_ADMIN_URL, withAdminFlags } from './admin-flags.ts';
import type { AdminFlags } from './admin-flags.ts';
import { commandSettings, CONSUL_FLAGS, SIDECAR_FLAGS, withTwoDashes } from './consul-flags.ts';
import type { ConsulFlags, Environment, FlagDefinition } from './consul-flags.ts';
import { requestedName, isExact } from './explain.ts';
import type { Explanation } from './explain.ts';
import { checkConfig, configuredAdmin } from '../config/load-config.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import { firstOf, problemLines } from '../config/shown-problems.ts';
import { diagnose } from '../doctor/doctor.ts';
import { findingLines, summaryOf } from '../live-check/finding.ts';
import type { Finding } from '../live-check/finding.ts';
import { checkLive, checkSidecarLive } from '../live-check/live-check.ts';
import { addressOf, adminClient } from '../admin/client.ts';
import { changesText, planAgainst, reloadGateway, upgradeGateway } from './process-commands.ts';
import { queriesOf, queriesTo } from '../admin/route-queries.ts';
import type { RouteQueries } from '../admin/route-queries.ts';
import type { LogTarget } from '../log/logger.ts';
import { jsonText, printable, printableLines } from '../log/printable.ts';
import { HANDOVER_MS, serve } from '../run/serve.ts';
import { checkSidecar } from '../sidecar/load-sidecar.ts';
import { serveSidecar } from '../sidecar/serve-sidecar.ts';
import { addConnectionCommands } from './connection-commands.ts';
import { addHelp } from './help-text.ts';
import { addOperatingCommands } from './operating-commands.ts';
import { reportedSize } from './terminal-size.ts';
import { hasColors, widthOf } from './terminal.ts';
import type { ExitStatus, Output, Terminal } from './terminal.ts';
import { explanationText, routesText, tracesText } from './tables.ts';
import { tracesOf } from './trace.ts';
import { VERSION } from './version.ts';

const HELP_COLUMNS = 100;

/** Runs the command in `args`. Never rejects: prints errors to standard error. */
export async function runCommand(args: readonly string[], terminal: Terminal): Promise<ExitStatus> {
  let status: ExitStatus = 0;
  try {
    await commandLine(terminal, (ended) => (status = ended)).parseAsync(withTwoDashes(args), { from: 'user' });
    return status;
  } catch (reason) {
    // Commander has already printed the error. Help and version are not failures.
    if (reason instanceof CommanderError) return reason.exitCode === 0 ? 0 : 2;
    terminal.stderr.write(`${printableLines(errorText(reason))}\n`);
    return reason instanceof ConfigProblems ? 2 : 1;
  }
}

/** Returns the parser with every command and its flags. */
export function commandLine(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  const { stdout, stderr } = terminal;
  const program = new Command('meshgate')
    .description('Mesh gateway and Connect proxy for Consul: routes TLS by server name (SNI) without decrypting it')
    .version(RELEASE, '-V, --version', 'print the version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      getOutHelpWidth: () => reportedSize(stdout.columns) ?? HELP_COLUMNS,
    })
    .showSuggestionAfterError();
  // Settings of the program apply only to commands that are added after this line.
  addProxies(program, terminal, end);
  addQueries(program, terminal, end);
  addProcessCommands(program, terminal);
  addOperatingCommands(program, terminal, end);
  addConnectionCommands(program, terminal, end);
  diagnosticCommands(program, terminal, end);
  program
    .command('version')
    .description('print the version')
    .option('--json', 'print JSON')
    .action(({ json }: { readonly json?: boolean }) => {
      const facts = { version: VERSION, node: process.versions.node };
      stdout.write(json === true ? jsonText(facts) : `${RELEASE}\n`);
    });
  addHelp(program);
  return program;
}

function addProxies(program: Command, terminal: Terminal, end: (status: ExitStatus) => void): void {
  withCheckFlags(
    withFlags(program.command('gateway').description('run a mesh gateway'), CONSUL_FLAGS).option(
      '-c, --config <file>',
      `configuration file (default: ${DEFAULT_FILE}, if it is there)`,
    ),
  ).action(async (options: GatewayFlags) => end(await gateway(options, terminal)));
  withCheckFlags(
    withFlags(program.command('sidecar').description('run a Connect proxy (sidecar)'), SIDECAR_FLAGS).option(
      '-c, --config <file>',
      'configuration file (default: none, everything comes from Consul)',
    ),
  ).action(async (options: SidecarFlags) => end(await sidecar(options, terminal)));
}

function withCheckFlags(command: Command): Command {
  return command
    .option('--check', 'validate the configuration and every file it names, then exit')
    .option('--live', 'with --check: also query the agent, DNS, the ports and the state directory, within 30 s')
    .option(
      '--against [admin]',
      `with --check: print what a reload of the running proxy would change; its admin API, a URL or unix:/path (default: ${DEFAULT_ADMIN_URL})`,
    );
}

function addQueries(program: Command, terminal: Terminal, end: (status: ExitStatus) => void): void {
  const { stdout } = terminal;
  withQueryFlags(program.command('routes').description('print the route table')).action(async (flags: QueryFlags) => {
    const view = await queriesFor(flags, terminal).routes();
    stdout.write(
      flags.json === true ? jsonText({ ...view, routes: [...view.routes] }) : routesText(view, widthOf(stdout)),
    );
  });
  withQueryFlags(program.command('explain').description('print the route of a server name, and why'))
    .argument('<server-name>', 'as a client sends it (SNI)')
    .option('--listener <name>', 'listener that the client connects to (default: any)')
    .action(async (text: string, flags: ExplainFlags) => {
      const explanation = await explained(text, queriesFor(flags, terminal), flags.listener);
      stdout.write(flags.json === true ? jsonText(explanation) : explanationText(explanation, widthOf(stdout)));
      end(explanation.found ? 0 : 1);
    });
}

/** Adds the commands for troubleshooting. */
function diagnosticCommands(program: Command, terminal: Terminal, end: (status: ExitStatus) => void): void {
  const { stdout } = terminal;
  withFlags(
    program.command('doctor').description('check everything that connections depend on, and suggest fixes'),
    CONSUL_FLAGS,
  )
    .argument('[server-name]', 'check only the path of this name')
    .option('--sidecar-for <id>', 'the configuration is that of the sidecar of this service instance')
    .option('-c, --config <file>', `configuration file (default: ${DEFAULT_FILE}, if it is there)`)
    .option('--admin <url>', `URL of the admin API, or unix:/path (default: that of the configuration)`)
    .option('--json', 'print JSON')
    .action(async (serverName: string | undefined, flags: DoctorFlags) => {
      end(await doctor(serverName, flags, terminal));
    });
  program
    .command('trace')
    .description('join the log lines of several proxies about one connection')
    .argument('[trace]', '13 hexadecimal digits, as an access log shows them (default: all, newest last)')
    .option('--log <file>', 'JSON access log, or - for standard input (repeatable)', gather)
    .option('--admin <url>', 'admin API whose live connections to include, or unix:/path (repeatable)', gather)
    .option('--name <server-name>', 'only connections with this server name')
    .addOption(
      new Option('--limit <number>', 'print at most this number of traces, the newest').argParser(positive).default(20),
    )
    .option('--json', 'print JSON')
    .action(async (trace: string | undefined, flags: TraceFlags) => {
      const { name: serverName, log: files = [], admin = [], limit } = flags;
      const admins = admin.map((url) => [url, adminAddress(url)] as const);
      const traces = await tracesOf({ trace, serverName, files, admins, limit });
      stdout.write(flags.json === true ? jsonText({ traces }) : tracesText(traces));
      end(traces.length === 0 ? 1 : 0);
    });
}

/** Adds the commands that act on a running gateway. */
function addProcessCommands(program: Command, { stdout }: Terminal): void {
  withAdminFlags(program.command('reload').description('apply the changed configuration to a running gateway'))
    .option('--json', 'print JSON')
    .action(async ({ json, ...flags }: AdminFlags) => {
      const changes = await reloadGateway(clientOf(flags));
      stdout.write(json === true ? jsonText({ changes }) : printableLines(changesText(changes)));
    });
  withAdminFlags(
    program
      .command('upgrade')
      .description(
        'replace a running gateway with the version and configuration on disk, without dropping connections',
      ),
  )
    .option('--json', 'print JSON')
    .action(async ({ json, ...flags }: AdminFlags) => {
      if (stdout.isTTY === true && json !== true)
        stdout.write(`waiting for the successor to be ready, ${HANDOVER_MS / 1_000} s at most\n`);
      const pid = await upgradeGateway(clientOf(flags));
      stdout.write(json === true ? jsonText({ pid }) : `process ${pid} has taken over; its predecessor is draining\n`);
    });
}

const RELEASE = `meshgate ${VERSION} (Node.js ${process.versions.node})`;

interface CheckFlags {
  readonly check?: boolean;
  readonly live?: boolean;
  readonly against?: string | true | undefined;
}

interface GatewayFlags extends ConsulFlags, CheckFlags {
  readonly config?: string;
}

async function gateway(
  { config, check = false, live = false, against, ...flags }: GatewayFlags,
  { stdout, signals, env }: Terminal,
): Promise<ExitStatus> {
  refuseWithoutCheck({ check, live, against });
  const settings = commandSettings(flags, env, process.cwd());
  const isComplete = settings.byFlag || settings.byEnvironment;
  const file = config ?? defaultFile(isComplete);
  const amend = amending(settings, settings.byFlag || file === undefined);
  const isFound = isComplete && config === undefined && file !== undefined;
  if (!check) return serve({ file, amend, isFound }, logTarget(stdout, env), signals);
  const loaded = await checkConfig(file, amend);
  const names = loaded.parts.sources.map(({ name }) => name).join(', ');
  await printChecked(loaded, { role: 'gateway', sources: `sources: ${names}`, isFound, against }, stdout);
  return live ? printFindings(await checkLive(loaded), stdout) : 0;
}

/** The result and the options of `--check`. */
interface Checked extends Pick<CheckFlags, 'against'> {
  readonly role: 'gateway' | 'sidecar';
  /** Sources, with their names. */
  readonly sources: string;
  /** See `ConfigOrigin`. */
  readonly isFound?: boolean;
}

async function printChecked(
  loaded: LoadedConfig,
  { role, sources, isFound = false, against }: Checked,
  stdout: Pick<Output, 'write'>,
): Promise<void> {
  const { file = 'command line', warnings } = loaded;
  for (const warning of firstOf(warnings.map((one) => `warning: ${one}`))) stdout.write(`${printable(warning)}\n`);
  if (isFound) stdout.write(`${file}: found in the current folder, no --config given\n`);
  stdout.write(`${file}: OK (${printable(sources)})\n`);
  if (against === undefined) return;
  const running = adminClient(adminAddress(against === true ? DEFAULT_ADMIN_URL : against, '--against'));
  stdout.write(printableLines(await planAgainst(running, role, loaded)));
}

function refuseWithoutCheck({ check = false, live = false, against }: CheckFlags): void {
  const flag = live ? '--live' : against === undefined ? undefined : '--against';
  if (check || flag === undefined) return;
  throw new ConfigProblems([{ message: `expected --check before ${flag}, found none`, path: [] }]);
}

/** Prints findings. Returns 1 when one of them is a failure. */
function printFindings(findings: readonly Finding[], stdout: Pick<Output, 'write'>): ExitStatus {
  for (const line of findingLines(findings)) stdout.write(`${printable(line)}\n`);
  return summaryOf(findings).healthy ? 0 : 1;
}

function logTarget(stdout: Output, env: Environment): LogTarget {
  return { fd: stdout.fd, isTerminal: stdout.isTTY === true, hasColors: hasColors(stdout, env) };
}

interface SidecarFlags extends GatewayFlags {
  readonly sidecarFor?: string;
}

async function sidecar(
  { config: file, check = false, live = false, against, sidecarFor, proxyId, ...flags }: SidecarFlags,
  { stdout, signals, env }: Terminal,
): Promise<ExitStatus> {
  refuseWithoutCheck({ check, live, against });
  const choice = proxyChoice(sidecarFor, proxyId);
  const settings = commandSettings(flags, env, process.cwd());
  const origin = { file, amend: amending(settings, settings.byFlag || file === undefined) };
  if (!check) return serveSidecar(origin, choice, logTarget(stdout, env), signals);
  const loaded = await checkSidecar(origin.file, origin.amend, choice);
  await printChecked(loaded, { role: 'sidecar', sources: `source: ${loaded.material.proxy.name}`, against }, stdout);
  return live ? printFindings(await checkSidecarLive(loaded), stdout) : 0;
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
    command.addOption(repeatable === true ? option.argParser(gather) : option);
  }
  return command;
}

function gather(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** Parses a number above 0. @throws InvalidArgumentError, which commander reports */
function positive(text: string): number {
  if (/^[1-9][0-9]{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('expected a whole number above 0');
}

interface DoctorFlags extends ConsulFlags {
  readonly config?: string;
  readonly admin?: string;
  readonly json?: boolean;
  readonly sidecarFor?: string;
}

async function doctor(
  serverName: string | undefined,
  { config, admin, json = false, sidecarFor, ...flags }: DoctorFlags,
  { stdout, env }: Terminal,
): Promise<ExitStatus> {
  const settings = commandSettings(flags, env, process.cwd());
  const file = config ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : undefined);
  const isConfigured = file !== undefined || settings.byFlag || settings.byEnvironment;
  const amend = amending(settings, settings.byFlag || file === undefined);
  const configured = admin === undefined ? await configuredAdmin(file, amend) : undefined;
  const findings = await diagnose({
    serverName,
    admin: adminClient(configured === undefined ? adminAddress(admin ?? DEFAULT_ADMIN_URL) : addressOf(configured)),
    ...((isConfigured || sidecarFor !== undefined) && {
      config: { file, amend, ...(sidecarFor !== undefined && { sidecar: { sidecarFor } }) },
    }),
  });
  if (!json) return printFindings(findings, stdout);
  const summary = summaryOf(findings);
  stdout.write(jsonText({ findings, summary }));
  return summary.healthy ? 0 : 1;
}

interface TraceFlags {
  readonly log?: readonly string[];
  readonly admin?: readonly string[];
  readonly name?: string;
  readonly limit: number;
  readonly json?: boolean;
}

interface QueryFlags {
  readonly admin?: string;
  readonly config?: string;
  readonly json?: boolean;
}

interface ExplainFlags extends QueryFlags {
  readonly listener?: string;
}

function withQueryFlags(command: Command): Command {
  return command
    .addOption(
      new Option('--admin <url>', `URL of the admin API, or unix:/path (default: ${DEFAULT_ADMIN_URL})`).conflicts(
        'config',
      ),
    )
    .option('-c, --config <file>', 'evaluate this configuration file instead of a running gateway')
    .option('--json', 'print JSON');
}

/** Explains a name. @throws ConfigProblems when no client can send the name and no route has it */
async function explained(text: string, queries: RouteQueries, listener?: string): Promise<Explanation> {
  const requested = requestedName(text);
  if (requested.kind === 'name') return queries.explain(requested.serverName, listener);
  const explanation = await queries.explain(text, listener).catch(() => undefined);
  if (explanation !== undefined && isExact(explanation)) return explanation;
  throw new ConfigProblems([{ message: `${requested.why}${await namesOfRoute(text, queries)}`, path: [] }]);
}

/** Returns a hint for the name of a route, which is not a server name; `''` when no route has it. */
async function namesOfRoute(name: string, queries: RouteQueries): Promise<string> {
  const routes = await queries.routes().then(
    (table) => [...table.routes],
    () => [],
  );
  const [serverName] = routes.find((route) => route.name === name)?.serverNames ?? [];
  return serverName === undefined ? '' : `: it is the name of a route, whose server name is ${serverName}`;
}

function queriesFor({ admin = DEFAULT_ADMIN_URL, config }: QueryFlags, { env }: Terminal): RouteQueries {
  if (config === undefined) return queriesTo(adminClient(adminAddress(admin)));
  return queriesOf(config, amending(commandSettings({}, env, process.cwd()), false));
}

const DEFAULT_FILE = 'meshgate.yaml';

/**
 * Returns the default configuration file, if it exists.
 *
 * @param optional whether the command works without a file
 * @throws ConfigProblems with a minimal example when a file is required and there is none
 */
function defaultFile(optional: boolean): string | undefined {
  if (existsSync(DEFAULT_FILE)) return DEFAULT_FILE;
  if (optional) return undefined;
  const message = `expected --config FILE or a file ${DEFAULT_FILE} in this directory, found neither; a minimal one is:\n\n${SMALLEST}`;
  throw new ConfigProblems([{ message, path: [] }]);
}

const SMALLEST = `    listeners: [ { address: 127.0.0.1, port: 8443 } ]
    sources: [ { use: file, path: routes.yaml } ]

and of a routes.yaml beside it:

    routes:
      - serverNames: [ api.example.com ]
        backends: [ { address: 10.0.0.1, port: 8443 } ]

or, with Consul, no file at all: meshgate gateway --register --address IP:PORT`;

function errorText(reason: unknown): string {
  if (reason instanceof ConfigProblems) return problemLines(reason.problems).join('\n');
  return `meshgate: ${reason instanceof Error ? reason.message : String(reason)}`;
}
