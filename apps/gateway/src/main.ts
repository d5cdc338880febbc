#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { runCommand } from './cli.ts';
import type { Signals } from './serve.ts';

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

// V8 makes objects old at once where it has seen that most of them grow old. In the first moments of traffic that is what it sees, in half of all
// processes, and never looks again: from then on a third of all connections fills the old generation, which has to be collected as a whole, for tens
// of milliseconds, every few thousand connections. Ours live for milliseconds or for hours; the second kind is too rare to be worth a guess.
setFlagsFromString('--no-allocation-site-pretenuring');

const { stdout, stderr } = process;
// Whatever a plugin may have left behind must not keep the process.
process.exit(await runCommand(process.argv.slice(2), { stdout, stderr, signals, env: process.env }));

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
