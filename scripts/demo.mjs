// `npm run demo` and `npm run demo:peers`: install, build, and run one of the examples until Ctrl-C; `-- --help` tells of its flags.
import { prepare } from './workspace.mjs';

// The script of package.json names the example; what the user adds comes after it.
const [example = ''] = process.argv.splice(2, 1);
// Standard output is for the result alone, where a program reads it.
const output = process.argv.includes('--json') ? process.stderr : process.stdout;

if (await prepare(output)) await import(new URL(`../examples/${example}/dist/main.js`, import.meta.url).href);
else process.exitCode = 1;
