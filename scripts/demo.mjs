// `npm run demo` and `npm run demo:peers`: install, build, and run one of the examples until Ctrl-C; `-- --help` tells of its flags.
import { prepare } from './workspace.mjs';

const EXAMPLES = {
  'two-datacenters': () => import('../examples/two-datacenters/dist/main.js'),
  'two-clusters': () => import('../examples/two-clusters/dist/main.js'),
};

// The script of package.json names the example; what the user adds comes after it.
const [example] = process.argv.splice(2, 1);
// Standard output is for the result alone, where a program reads it.
const output = process.argv.includes('--json') ? process.stderr : process.stdout;

if (await prepare(output)) await EXAMPLES[example]();
else process.exitCode = 1;
