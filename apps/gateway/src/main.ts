#!/usr/bin/env node
// Imports no other module here: modules that are imported together are opened together, which takes more descriptors
// than a low limit allows.
import { descriptorLimit, MIN_DESCRIPTORS } from './run/descriptor-limit.ts';
import type { Signals } from './run/serve.ts';
import type { Job } from './cli/top.ts';

// By default, SIGUSR1 opens Node's inspector: remote access to a process that has a token.
for (const signal of ['SIGUSR1', 'SIGUSR2'] as const) process.on(signal, () => undefined);

const { stdout, stderr } = process;
// A reader may have exited, as in `meshgate routes | head -1`, which needs no stack trace.
for (const output of [stdout, stderr]) output.on('error', () => undefined);
// The variable would disable the verification of certificates.
if (process.env['NODE_TLS_REJECT_UNAUTHORIZED'] === '0')
  stderr.write('meshgate: NODE_TLS_REJECT_UNAUTHORIZED=0 is ignored: certificates are always verified\n');
delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
const descriptors = descriptorLimit() ?? MIN_DESCRIPTORS;
if (descriptors < MIN_DESCRIPTORS) {
  stderr.write(
    `meshgate: open file limit too low: expected at least ${MIN_DESCRIPTORS}, found ${descriptors}; raise it with ulimit -n, or LimitNOFILE= of systemd\n`,
  );
  process.exit(1);
}
// Imported only now: with fewer descriptors, the modules cannot be opened.
const { disablePretenuring } = await import('./run/v8-flags.ts');
disablePretenuring();
const { forbidExit, redirectConsole } = await import('./run/plugin-limits.ts');
const exit = forbidExit();
// Used until there is a log.
redirectConsole((output) => stderr.write(`${output}\n`));
const { onStray } = await import('./run/stray-error.ts');
const signals: Signals = {
  onStop(listener) {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) process.on(signal, listener);
  },
  onReload: (listener) => void process.on('SIGHUP', listener),
  onUpgrade: (listener) => void process.on('SIGUSR2', listener),
  onStray: (listener) => void onStray((error, kind) => (listener(error, kind), true)),
};
const { runCommand } = await import('./cli/cli.ts');
const job: Job = {
  onEnd(listener) {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP'] as const) process.on(signal, listener);
    // The monitor is called before the error is printed.
    for (const event of ['exit', 'uncaughtExceptionMonitor'] as const) process.on(event, listener);
    stdout.on('error', listener);
  },
  onRedraw(listener) {
    process.on('SIGCONT', listener);
    stdout.on('resize', listener);
  },
  // Stops the whole job, because its shell waits for the job's first process.
  suspend: () => void process.kill(0, 'SIGTSTP'),
};
// Timers or handles that a plugin leaves behind must not keep the process running.
const terminal = {
  stdout,
  stderr,
  signals,
  job,
  env: process.env,
  // Accessed on demand, since most commands do not use standard input.
  get stdin() {
    return process.stdin;
  },
};
exit(await runCommand(process.argv.slice(2), terminal));
