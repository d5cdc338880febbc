// `npm run demo` and `npm run demo:peers`: installs, builds, and runs one of the examples until Ctrl-C; `-- --help`
// lists its flags.
import { prepare } from './workspace.mjs';

const EXAMPLES = {
  'two-datacenters': () => import('../examples/two-datacenters/dist/main.js'),
  'two-clusters': () => import('../examples/two-clusters/dist/main.js'),
};

// The script in package.json names the example; the user's arguments follow.
const [example] = process.argv.splice(2, 1);
// When a program reads it, standard output only has the result.
const output = process.argv.includes('--json') ? process.stderr : process.stdout;

if (await prepare(output)) await EXAMPLES[example]();
else process.exitCode = 1;
