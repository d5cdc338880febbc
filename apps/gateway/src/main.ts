#!/usr/bin/env node
import { runCommand } from './cli/cli.ts';
import { disablePretenuring } from './run/v8-flags.ts';
import type { Signals } from './run/serve.ts';

const signals: Signals = {
  onStop(listener) {
    process.on('SIGTERM', listener);
    process.on('SIGINT', listener);
  },
  onReload: (listener) => void process.on('SIGHUP', listener),
  onStray(listener) {
    process.on('uncaughtException', (reason) => listener(asError(reason), 'exception'));
    process.on('unhandledRejection', (reason) => listener(asError(reason), 'rejection'));
  },
};

disablePretenuring();

const { stdout, stderr } = process;
// Whoever reads them may have gone, as in `meshgate routes | head -1`: no reason to break off with a stack.
for (const output of [stdout, stderr]) output.on('error', () => undefined);
// Whatever a plugin may have left behind must not keep the process.
process.exit(await runCommand(process.argv.slice(2), { stdout, stderr, signals, env: process.env }));

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
