// What publint and attw cannot know: how the packages of this project stand to each other.
//
//   node scripts/check-packages.mjs          exit status 1 when a package.json is wrong, one line each
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './workspace.mjs';

const CORE = '@meshgate/core';

const findings = manifests().flatMap(({ file, manifest }) => check(manifest).map((problem) => `${file}: ${problem}`));
for (const finding of findings) console.error(finding);
process.exitCode = findings.length === 0 ? 0 : 1;

function manifests() {
  const files = readdirSync(join(ROOT, 'packages')).map((name) => join('packages', name, 'package.json'));
  const present = files.filter((file) => existsSync(join(ROOT, file)));
  return present.map((file) => ({ file, manifest: JSON.parse(readFileSync(join(ROOT, file), 'utf8')) }));
}

function check({ name, private: isPrivate, engines, dependencies = {}, peerDependencies = {}, devDependencies = {} }) {
  if (isPrivate || name === CORE) return [];
  const problems = [];
  // Two copies of core would mean two classes `ProxyError`, and no `instanceof` between them.
  if (CORE in dependencies) problems.push(`expected ${CORE} among peerDependencies only, found it among dependencies`);
  if (!(CORE in peerDependencies)) problems.push(`expected ${CORE} among peerDependencies, found none`);
  for (const peer of Object.keys(peerDependencies)) {
    if (!(peer in devDependencies)) problems.push(`expected the peer ${peer} among devDependencies too, found none`);
  }
  const { node } = root().engines;
  if (engines?.node !== node) problems.push(`expected engines.node ${node} as at the top, found ${engines?.node}`);
  return problems;
}

function root() {
  return JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
}
