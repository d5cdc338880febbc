#!/usr/bin/env node
import { descriptorLimit, MIN_DESCRIPTORS } from './run/descriptor-limit.ts';
import { strayError } from './run/stray-error.ts';
import { disablePretenuring } from './run/v8-flags.ts';
import type { Signals } from './run/serve.ts';

const signals: Signals = {
  onStop(listener) {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) process.on(signal, listener);
  },
  onReload: (listener) => void process.on('SIGHUP', listener),
  onUpgrade: (listener) => void process.on('SIGUSR2', listener),
  onStray(listener) {
    process.on('uncaughtException', (reason) => listener(strayError(reason), 'exception'));
    process.on('unhandledRejection', (reason) => listener(strayError(reason), 'rejection'));
  },
};

disablePretenuring();
// By default Node opens its inspector at SIGUSR1: a door into a process that holds a token.
for (const signal of ['SIGUSR1', 'SIGUSR2'] as const) process.on(signal, () => undefined);

const { stdout, stderr } = process;
// Whoever reads them may have gone, as in `meshgate routes | head -1`: no reason to break off with a stack.
for (const output of [stdout, stderr]) output.on('error', () => undefined);
// It would turn off the verification of every certificate.
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
// Loaded only now: with fewer descriptors its modules cannot be opened.
const { runCommand } = await import('./cli/cli.ts');
// Whatever a plugin may have left behind must not keep the process.
const terminal = {
  stdout,
  stderr,
  signals,
  env: process.env,
  // Made when it is first asked for: most commands leave standard input alone.
  get stdin() {
    return process.stdin;
  },
};
process.exit(await runCommand(process.argv.slice(2), terminal));
