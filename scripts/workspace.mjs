// What `npm start` and `npm test` do first, with nothing but Node and npm on the machine: get the pinned pnpm, install,
// build.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The top folder of the project. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** @typedef {{ readonly isTTY?: boolean, write(text: string): unknown }} Output where progress is printed */

/**
 * Installs the dependencies in the lock file and builds every package. Takes about two seconds if everything is up to
 * date.
 *
 * @param {Output} output for progress; by default standard output
 * @returns {Promise<boolean>} whether all of it worked; if not, the reason has been printed
 */
export async function prepare(output = process.stdout) {
  return (
    (await step('pnpm', usePinnedPnpm, output)) &&
    (await step('install', () => run('pnpm', ['install', '--frozen-lockfile', '--prefer-offline']), output)) &&
    (await step('build', build, output))
  );
}

function build() {
  return run('turbo', ['run', 'build', '--output-logs=errors-only']);
}

/**
 * Progress of the build that began at `since`: turbo writes a log in each package that it has built or found in its
 * cache.
 */
function buildProgress(since) {
  const packages = ['packages', 'apps', 'examples'].flatMap((top) =>
    readdirSync(join(ROOT, top)).map((name) => join(ROOT, top, name)),
  );
  const logs = packages.map((folder) => join(folder, '.turbo', 'turbo-build.log')).filter((file) => existsSync(file));
  return `${logs.filter((file) => statSync(file).mtime >= since).length} packages built, `;
}

/**
 * Runs a step and prints one line with its duration, or with the reason if it fails. Meanwhile it prints the elapsed
 * time: each second on a terminal, in the same line; otherwise every half minute.
 *
 * @param {string} name
 * @param {() => Promise<unknown>} work
 * @param {Output} output for the lines; by default standard output
 * @returns {Promise<boolean>} whether it worked
 */
export async function step(name, work, output = process.stdout) {
  const start = performance.now();
  const since = new Date();
  const still = () => {
    const seconds = Math.round((performance.now() - start) / 1000);
    output.write(
      `..  ${name} (${work === build ? buildProgress(since) : ''}${seconds} s)${output.isTTY ? '\r' : '\n'}`,
    );
  };
  if (output.isTTY) still();
  const ticking = setInterval(still, output.isTTY ? 1_000 : 30_000);
  const failure = await work().then(() => undefined, String);
  clearInterval(ticking);
  // Overwrites the line that showed the elapsed time.
  if (output.isTTY) output.write('\u001b[K');
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const line = failure === undefined ? `ok  ${name} (${seconds} s)` : `FAILED  ${name} (${seconds} s)\n${failure}`;
  output.write(`${line}\n`);
  return failure === undefined;
}

/**
 * Runs a command of the project in {@link ROOT}.
 *
 * @param {string} command preferably from the project's own tools
 * @param {readonly string[]} args
 * @returns {Promise<string>} its standard output; rejects with its complete output for any exit status other than 0
 */
export function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => (output += text));
    child.once('error', (error) => reject(new Error(`${command}: cannot be run: ${error.message}`, { cause: error })));
    child.once('close', (status, signal) => {
      if (status === 0) resolve(stdout);
      else reject(new Error(`$ ${command} ${args.join(' ')}\n${output}exit status ${status ?? signal}`));
    });
  });
}

/**
 * Prepends the pnpm that package.json pins to PATH, unless it is there already; npm downloads it into its own cache.
 */
async function usePinnedPnpm() {
  const { packageManager } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const found = await run('pnpm', ['--version']).catch(() => 'none');
  if (`pnpm@${found.trim()}` === packageManager) return;
  // npm puts the folder of the downloaded command first in PATH.
  const script = `console.log(process.env.PATH.split(${JSON.stringify(delimiter)})[0])`;
  const folder = await run('npm', ['exec', '--yes', `--package=${packageManager}`, '--', 'node', '-e', script]);
  process.env.PATH = `${folder.trim()}${delimiter}${process.env.PATH}`;
}

function environment() {
  return {
    ...process.env,
    PATH: `${join(ROOT, 'node_modules', '.bin')}${delimiter}${process.env.PATH}`,
    // Without a terminal pnpm must not prompt: it continues or fails.
    CI: process.env.CI ?? 'true',
    // Its output is kept for an error message, which may end up in a log.
    NO_COLOR: '1',
    // Disables the telemetry of everything that is run here.
    DO_NOT_TRACK: '1',
    TURBO_TELEMETRY_DISABLED: '1',
  };
}
