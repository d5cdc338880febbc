// `npm run demo`: installs, builds, and runs examples/two-datacenters until Ctrl-C. `npm run demo -- --help` tells of its flags.
import { prepare } from './workspace.mjs';

// Standard output is for the result alone, where a program reads it.
const output = process.argv.includes('--json') ? process.stderr : process.stdout;

if (await prepare(output)) await import('../examples/two-datacenters/dist/main.js');
else process.exitCode = 1;
