// Packs every package, unpacks it outside of the workspace, and uses it there as an external user would.
//
//   node scripts/check-tarballs.mjs          exit status 1 when something is wrong, one line each; needs no network
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ROOT, run } from './workspace.mjs';

/** A minimal first program. */
const USE = `
import { createProxy } from '@meshgate/core';
import { sniSniffer } from '@meshgate/sni';
// Its suites need vitest, which is not here; importing it does not.
import { clientHello } from '@meshgate/testkit';
if (clientHello({ serverName: 'api.example.com' }).length === 0) throw new Error('expected a ClientHello, found nothing');
const proxy = createProxy({ listen: { host: '127.0.0.1', port: 0 }, routes: [], sniffers: [sniSniffer()] });
await proxy.start();
await proxy.stop();
`;

const home = realpathSync(mkdtempSync(join(tmpdir(), 'meshgate-packed-')));
const problems = [];
try {
  for (const folder of published()) problems.push(...(await unpack(folder)));
  problems.push(...(await use()));
} finally {
  rmSync(home, { recursive: true });
}
for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;

function published() {
  const folders = [...readdirSync(join(ROOT, 'packages')).map((name) => join('packages', name)), 'apps/gateway'];
  return folders.filter(
    (folder) => existsSync(join(ROOT, folder, 'package.json')) && manifestOf(join(ROOT, folder)).private !== true,
  );
}

function manifestOf(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
}

/** Installs the packed packages in `node_modules`, with their dependencies from this workspace. */
async function unpack(folder) {
  const tarball = join(home, 'package.tgz');
  await run('pnpm', ['--dir', folder, 'pack', '--out', tarball]);
  const { name } = manifestOf(join(ROOT, folder));
  const target = join(home, 'node_modules', name);
  mkdirSync(target, { recursive: true });
  await run('tar', ['-xzf', tarball, '-C', target, '--strip-components=1']);
  const manifest = manifestOf(target);
  const { dependencies, peerDependencies = {}, peerDependenciesMeta = {} } = manifest;
  const peers = Object.keys(peerDependencies).filter((peer) => peerDependenciesMeta[peer]?.optional !== true);
  for (const dependency of [...Object.keys(dependencies ?? {}), ...peers]) lend(dependency, folder, target);
  return faultsOf(name, target, manifest);
}

/**
 * External dependencies are linked from here; optional ones are omitted, so that everything has to work without them.
 */
function lend(dependency, folder, target) {
  if (dependency.startsWith('@meshgate/')) return;
  const source = join(ROOT, folder, 'node_modules', dependency);
  const location = join(target, 'node_modules', dependency);
  if (!existsSync(source)) return;
  mkdirSync(dirname(location), { recursive: true });
  symlinkSync(realpathSync(source), location);
}

function faultsOf(name, target, manifest) {
  const faults = [];
  if (!existsSync(join(target, 'LICENSE'))) faults.push('expected a LICENSE, found none');
  if (!existsSync(join(target, 'README.md'))) faults.push('expected a README.md, found none');
  if (readdirSync(target, { recursive: true }).some((file) => file.endsWith('.tsbuildinfo')))
    faults.push('expected no .tsbuildinfo, found one');
  if (JSON.stringify(manifest).includes('workspace:')) faults.push('expected real versions, found workspace:');
  return faults.map((fault) => `${name}: ${fault}`);
}

/** A proxy in three lines, checked by a strict compiler and then run. */
async function use() {
  const types = join(ROOT, 'node_modules', '@types', 'node');
  mkdirSync(join(home, 'node_modules', '@types'), { recursive: true });
  symlinkSync(realpathSync(types), join(home, 'node_modules', '@types', 'node'));
  symlinkSync(
    realpathSync(join(dirname(realpathSync(types)), '..', 'undici-types')),
    join(home, 'node_modules', 'undici-types'),
  );
  writeFileSync(join(home, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(home, 'use.ts'), USE);
  const compilerOptions = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    module: 'nodenext',
    target: 'es2023',
    types: ['node'],
  };
  writeFileSync(join(home, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['use.ts'] }));
  const compiled = await attempt('types', 'tsc', ['-p', home]);
  if (compiled.length > 0) return compiled;
  const config = join(home, 'meshgate.json');
  writeFileSync(join(home, 'routes.json'), '{ "routes": [] }');
  writeFileSync(
    config,
    JSON.stringify({ listeners: [{ address: '127.0.0.1', port: 0 }], sources: [{ use: 'file', path: 'routes.json' }] }),
  );
  const command = join(home, 'node_modules', '@meshgate', 'gateway', 'dist', 'main.js');
  return [
    ...(await attempt('an embedded proxy', process.execPath, [join(home, 'use.js')])),
    ...(await attempt('the command, without koffi', process.execPath, [
      command,
      'gateway',
      '--check',
      '--config',
      config,
    ])),
  ];
}

async function attempt(what, command, args) {
  try {
    await run(command, args);
    return [];
  } catch (reason) {
    return [`${what}: ${reason instanceof Error ? reason.message : String(reason)}`];
  }
}
