import { Argument, Option } from 'commander';
import type { Command } from 'commander';
import type { StatusView } from '../admin/status.ts';
import { LOG_LEVELS } from '../config/config-schema.ts';
import { jsonText, printable } from '../log/printable.ts';
import { clientOf, withAdminFlag, withAdminFlags } from './admin-flags.ts';
import type { AdminFlags } from './admin-flags.ts';
import { completionScript, SHELLS } from './completion.ts';
import type { Shell } from './completion.ts';
import { drainAndWait, drainText } from './drain-command.ts';
import { statusText } from './status-text.ts';
import { reportedSize } from './terminal-size.ts';
import { hasColors, hasScreen } from './terminal.ts';
import type { ExitStatus, Terminal } from './terminal.ts';
import { runTop, topModel, topSnapshot } from './top.ts';
import { SORTS, topScreen } from './top-screen.ts';
import type { Sort, TopView } from './top-screen.ts';

/** Adds the commands that inspect and operate a running gateway. */
export function addOperatingCommands(program: Command, terminal: Terminal, end: (status: ExitStatus) => void): void {
  const { stdout } = terminal;
  withAdminFlag(program.command('status').description('print whether a running gateway is ready, and why not'))
    .option('--json', 'print JSON')
    .action(async (flags: AdminFlags) => {
      const status = (await clientOf(flags).get('/status')) as StatusView;
      stdout.write(flags.json === true ? jsonText(status) : statusText(status, new Date()));
      end(status.ready ? 0 : 1);
    });
  withAdminFlag(program.command('top').description('show the traffic of a running gateway, route by route'))
    .addOption(new Option('--sort <order>', 'order of the routes').choices(Object.keys(SORTS)).default('live'))
    .option('--filter <text>', 'only routes whose name contains this, in upper or lower case (default: all)')
    .option('--once', 'print one snapshot and exit (default when the output is not a terminal, or a dumb one)')
    .option('--json', 'print one snapshot as JSON')
    .action((flags: TopFlags) => top(flags, terminal));
  withAdminFlags(program.command('drain').description('drain a running gateway, which then exits'))
    .option('--no-wait', 'start the drain and do not wait for its end')
    .option('--json', 'print JSON')
    .action(async (flags: AdminFlags & { readonly wait: boolean }) => end(await drain(flags, terminal)));
  withAdminFlags(program.command('log-level').description('print or set the log level of a running gateway'))
    .addArgument(new Argument('[level]', 'level to set, until the gateway exits').choices(LOG_LEVELS))
    .option('--json', 'print JSON')
    .action(async (level: string | undefined, flags: AdminFlags) => {
      const gateway = clientOf(flags);
      const response = await (level === undefined
        ? gateway.get('/log-level')
        : gateway.change('PUT', `/log-level?level=${level}`));
      stdout.write(flags.json === true ? jsonText(Object(response) as object) : `${levelIn(response)}\n`);
    });
  program
    .command('completion')
    .description('print a shell completion script')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .action((shell: Shell) => void stdout.write(completionScript(program, shell)));
}

interface TopFlags extends AdminFlags {
  readonly sort: Sort;
  readonly filter?: string;
  readonly once?: boolean;
}

async function top(flags: TopFlags, { stdout, stdin, job, env }: Terminal): Promise<void> {
  const { sort, filter = '', json = false, once = !hasScreen(stdout, env) } = flags;
  const gateway = clientOf(flags);
  const isColored = hasColors(stdout, env);
  const columns = reportedSize(stdout.columns) ?? DEFAULT_COLUMNS;
  const view: TopView = { sort, filter, isTyping: false, isColored, columns };
  if (!once && !json) {
    await runTop(gateway, view, { stdout, stdin: stdin?.isTTY === true ? stdin : undefined, job });
    return;
  }
  const model = await topModel(gateway);
  if (json) stdout.write(jsonText(topSnapshot(model, view)));
  else
    stdout.write(
      topScreen(model, view, new Date())
        .map((line) => `${line}\n`)
        .join(''),
    );
}

/** Width when the terminal's is not known: fits a table of long route names. */
const DEFAULT_COLUMNS = 130;

async function drain(flags: AdminFlags & { readonly wait: boolean }, { stdout }: Terminal): Promise<ExitStatus> {
  const { json = false, wait } = flags;
  const gateway = clientOf(flags);
  if (!wait) {
    const progress = (await gateway.change('POST', '/drain')) as Parameters<typeof drainText>[0];
    stdout.write(json ? jsonText(progress) : drainText(progress));
    return 0;
  }
  if (stdout.isTTY === true && !json) stdout.write('waiting for the drain; Ctrl-C ends this command, not the drain\n');
  const last = await drainAndWait(gateway, (progress) => json || stdout.write(drainText(progress)));
  if (json) stdout.write(jsonText(last));
  return last.cut > 0 ? 1 : 0;
}

function levelIn(response: unknown): string {
  const { level } = Object(response) as { readonly level?: unknown };
  return printable(typeof level === 'string' ? level : 'unknown');
}
