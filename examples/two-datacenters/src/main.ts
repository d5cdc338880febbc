// `npm run demo`, once everything is built.
import { demonstrate } from './demo.ts';
import { HELP, parseCommand } from './options.ts';
import type { Options } from './options.ts';
import { Progress } from './progress.ts';
import { painter } from './report.ts';

/** The exports of `scripts/consul.mjs`. */
interface ConsulScript {
  findConsul(): string | undefined;
}

/** A shell's exit status for a command that Ctrl-C has ended. */
const INTERRUPTED = 130;

// 0: each request took the expected path. 1: one did not, or something failed. 2: the command line is invalid.
process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const command = parseCommand(args);
  if (command.kind === 'help') process.stdout.write(HELP);
  if (command.kind === 'wrong') process.stderr.write(`${command.message}\n\n${HELP}`);
  return command.kind === 'run' ? run(command.options) : command.kind === 'help' ? 0 : 2;
}

async function run(options: Options): Promise<number> {
  const output = options.json ? process.stderr : process.stdout;
  const paint = painter(output.isTTY, process.env['NO_COLOR']);
  const progress = new Progress(output, paint);
  const leave = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => leave.abort());
  // The reader has exited: `npm run demo | head`.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => leave.abort());
  try {
    const right = await demonstrate(options, {
      progress,
      paint,
      stdout: process.stdout,
      keyboard: process.stdin.isTTY && output.isTTY ? process.stdin : undefined,
      consul: await consulFor(options),
      signal: leave.signal,
      onExit: (clean) => void process.once('exit', clean),
    });
    return right === undefined ? INTERRUPTED : right ? 0 : 1;
  } catch (reason) {
    process.stderr.write(`${paint('red', 'FAILED')}  ${wordsFor(reason)}\n`);
    return 1;
  } finally {
    process.stdin.destroy();
  }
}

function wordsFor(reason: unknown): string {
  const message = reason instanceof Error ? reason.message : String(reason);
  return message.includes('Consul') ? `${message}\nWithout Consul: npm run demo -- --mesh-files` : message;
}

/** @throws Error when there is none although one is required */
async function consulFor({ form }: Options): Promise<string | undefined> {
  if (form === 'mesh-files') return undefined;
  // A URL that the compiler cannot resolve: the script is plain JavaScript outside this package.
  const script = (await import(new URL('../../../scripts/consul.mjs', import.meta.url).href)) as ConsulScript;
  const found = script.findConsul();
  const named = process.env['MESHGATE_CONSUL_BIN'] ?? '';
  if (found === undefined && named !== '')
    throw new Error(`expected MESHGATE_CONSUL_BIN to name an executable file, found ${named}`);
  if (found === undefined && form === 'consul')
    throw new Error(
      'expected a Consul binary in MESHGATE_CONSUL_BIN or on PATH, found none: node scripts/consul.mjs fetches one',
    );
  return found;
}
