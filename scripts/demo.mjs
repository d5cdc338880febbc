// `npm run demo`: installs, builds, and runs examples/two-datacenters until Ctrl-C. `npm run demo -- --help` tells of its flags.
import { prepare } from './workspace.mjs';

// Standard output is for the result alone, where a program reads it.
const say = process.argv.includes('--json') ? console.error : console.log;

if (await prepare(say)) await import('../examples/two-datacenters/dist/main.js');
else process.exitCode = 1;
