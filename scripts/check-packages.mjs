// What publint and attw cannot check: how the packages of this project depend on each other.
//
//   node scripts/check-packages.mjs          exit status 1 when a package.json is wrong, one line each
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT } from './workspace.mjs';

const CORE = '@meshgate/core';
const COMMAND = '@meshgate/gateway';

const findings = manifests().flatMap(({ file, manifest }) =>
  [...check(manifest), ...presentation(file, manifest)].map((problem) => `${file}: ${problem}`),
);
for (const finding of findings) console.error(finding);
process.exitCode = findings.length === 0 ? 0 : 1;

function manifests() {
  const folders = [...readdirSync(join(ROOT, 'packages')).map((name) => join('packages', name)), 'apps/gateway'];
  const files = folders.map((folder) => join(folder, 'package.json'));
  const present = files.filter((file) => existsSync(join(ROOT, file)));
  return present.map((file) => ({ file, manifest: JSON.parse(readFileSync(join(ROOT, file), 'utf8')) }));
}

function check(manifest) {
  const {
    name,
    private: isPrivate,
    engines,
    dependencies = {},
    peerDependencies = {},
    devDependencies = {},
  } = manifest;
  const { peerDependenciesMeta = {} } = manifest;
  if (isPrivate || name === CORE || name === COMMAND) return [];
  const problems = [];
  // Two copies of core would have two `ProxyError` classes, and `instanceof` would fail between them.
  if (CORE in dependencies) problems.push(`expected ${CORE} among peerDependencies only, found it among dependencies`);
  if (!(CORE in peerDependencies)) problems.push(`expected ${CORE} among peerDependencies, found none`);
  for (const peer of Object.keys(peerDependencies)) {
    // Dependencies that only the compiler needs are at the top level.
    if (peer.startsWith('@types/') && peerDependenciesMeta[peer]?.optional) continue;
    if (!(peer in devDependencies)) problems.push(`expected the peer ${peer} among devDependencies too, found none`);
  }
  const { node } = root().engines;
  if (engines?.node !== node) problems.push(`expected engines.node ${node} as at the top, found ${engines?.node}`);
  return problems;
}

/** What users see of a package on a registry. */
function presentation(
  file,
  { name, private: isPrivate, keywords = [], homepage, bugs, repository, files = [], ...rest },
) {
  if (isPrivate) return [];
  const folder = dirname(file);
  const { repository: ours, bugs: tracker } = root();
  const problems = [];
  const expect = (isRight, what) => void (isRight || problems.push(`expected ${what}`));
  expect(keywords.length > 1, 'some keywords');
  expect(
    repository?.url === ours.url && repository?.directory === folder,
    `repository ${ours.url}, directory ${folder}`,
  );
  expect(bugs === tracker && homepage?.endsWith(`${folder}#readme`), 'bugs and homepage as at the top');
  expect(files.includes('!dist/.tsbuildinfo'), '!dist/.tsbuildinfo among files');
  expect(rest.scripts?.prepublishOnly?.endsWith('published-by-pnpm.mjs'), 'a prepublishOnly that refuses npm');
  expect(name === COMMAND || '@types/node' in (rest.peerDependencies ?? {}), 'the optional peer @types/node');
  expect(textOf(join(folder, 'LICENSE')) === textOf('LICENSE'), 'LICENSE as at the top');
  for (const link of linksOf(join(folder, 'README.md')))
    expect(leadsSomewhere(link), `README links that work anywhere, found ${link}`);
  return problems;
}

function textOf(path) {
  return existsSync(join(ROOT, path)) ? readFileSync(join(ROOT, path), 'utf8') : undefined;
}

function linksOf(readme) {
  return Array.from((textOf(readme) ?? '').matchAll(/\]\(([^)\s]+)\)/g), ([, link]) => link);
}

/** A relative link does not work on a registry; one to our repository must lead to an existing file. */
function leadsSomewhere(link) {
  if (link.startsWith('#')) return true;
  if (!link.startsWith('https://')) return false;
  const [, path] = link.split(/\/(?:blob|tree)\/main\//);
  return path === undefined || existsSync(join(ROOT, path.split('#')[0]));
}

function root() {
  return JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
}
