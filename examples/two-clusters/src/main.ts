// `npm run demo:peers`, once everything is built.
import { parseArgs } from 'node:util';
import { painter, Progress } from '@meshgate/example-two-datacenters';
import { demonstrate } from './demo.ts';

const HELP = `Runs two peered clusters of mesh files on loopback, and shows the path of each request.

  npm run demo:peers -- [flags]

  --once          send the requests once and exit: 0 when all went as expected, else 1
  --free-ports    ports that the system chooses, none of those in the files
  --help          this
`;

const OFF = { type: 'boolean', default: false } as const;

// 0: everything went as expected. 1: it did not, or something failed. 2: the command line is invalid.
process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const paint = painter(process.stdout.isTTY, process.env['NO_COLOR']);
  const leave = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => leave.abort());
  const flags = flagsIn(args);
  if (flags === undefined || flags.help) {
    (flags === undefined ? process.stderr : process.stdout).write(HELP);
    return flags === undefined ? 2 : 0;
  }
  const progress = new Progress(process.stdout, paint);
  try {
    const options = { once: flags.once, freePorts: flags['free-ports'], progress, signal: leave.signal };
    return (await demonstrate(options)) ? 0 : 1;
  } catch (reason) {
    if (leave.signal.aborted) return INTERRUPTED;
    process.stderr.write(`${paint('red', 'FAILED')}  ${reason instanceof Error ? reason.message : String(reason)}\n`);
    return 1;
  }
}

/** A shell's exit status for a command that Ctrl-C has ended. */
const INTERRUPTED = 130;

function flagsIn(args: readonly string[]) {
  try {
    const options = { once: OFF, 'free-ports': OFF, help: { ...OFF, short: 'h' } } as const;
    return parseArgs({ args: [...args], options, strict: true }).values;
  } catch (reason) {
    process.stderr.write(`${reason instanceof Error ? reason.message : String(reason)}\n\n`);
    return undefined;
  }
}
