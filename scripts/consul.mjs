#!/usr/bin/env node
// Prints the path of a Consul binary for the tests that need a real agent, and fetches one when there is none.
//
//   node scripts/consul.mjs          find or fetch; exit status 1, with the reason on stderr, when neither works
//   node scripts/consul.mjs --find   find only, never touches the network
//
// Looked for in this order: MESHGATE_CONSUL_BIN, PATH, the cache (~/.cache/meshgate, or MESHGATE_CACHE). Fetched from HashiCorp's
// release site, else from the Debian mirror that this machine's own apt names. Nothing is installed and no root is needed.
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { arch, homedir, platform, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

// The release that the tests download from HashiCorp. Debian 11 has 1.8.7, the version of the measurements in the docs.
const RELEASE = '1.18.2';
const RELEASE_SITE = 'https://releases.hashicorp.com/consul';
// Long enough for a slow name server, short enough where a firewall blocks the site.
const REACHABLE_TIMEOUT_MS = 5_000;
const DOWNLOAD_TIMEOUT_MS = 300_000;

/**
 * A Consul binary that is already on this machine.
 *
 * @returns {string | undefined} its path; `undefined` if there is none
 */
export function findConsul() {
  const named = process.env.MESHGATE_CONSUL_BIN;
  if (named !== undefined && named !== '') return isExecutable(named) ? named : undefined;
  const onPath = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'consul'));
  return [...onPath, cached()].find(isExecutable);
}

/**
 * A Consul binary, downloaded into the cache if this machine has none.
 *
 * @returns {Promise<string>} its path; rejects with all reasons if no source worked
 */
export async function obtainConsul() {
  const found = findConsul();
  if (found !== undefined) return found;
  const named = process.env.MESHGATE_CONSUL_BIN;
  if (named) throw new Error(`MESHGATE_CONSUL_BIN names ${named}, which is not an executable file`);
  const reasons = [];
  for (const fetchInto of [fromHashiCorp, fromDebian]) {
    const folder = mkdtempSync(join(tmpdir(), 'meshgate-consul-'));
    try {
      return await keep(await fetchInto(folder));
    } catch (reason) {
      reasons.push(`${fetchInto.name}: ${reason instanceof Error ? reason.message.trim() : String(reason)}`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  throw new Error(
    `no Consul binary on PATH, in MESHGATE_CONSUL_BIN or ${cached()}, and none could be fetched:\n  ${reasons.join('\n  ')}`,
  );
}

/**
 * The minor version of a binary: 16 for Consul 1.16.4. The tests need it where releases of the agent differ.
 *
 * @param {string} binary
 */
export function minorRelease(binary) {
  const [, minor] = /Consul v1\.(\d+)\./.exec(execFileSync(binary, ['version'], { encoding: 'utf8' })) ?? [];
  if (minor === undefined) throw new Error(`expected ${binary} to tell its version, found none`);
  return Number(minor);
}

/**
 * Ports of an agent that are open by default: two servers on one address would conflict.
 *
 * @param {string} binary
 * @returns {Readonly<Record<string, number>>}
 */
export function closedPorts(binary) {
  return { dns: -1, ...(minorRelease(binary) < 14 ? {} : { grpc_tls: -1 }) };
}

function cacheFolder() {
  return process.env.MESHGATE_CACHE ?? join(homedir(), '.cache', 'meshgate');
}

function cached() {
  return join(cacheFolder(), 'consul');
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Moves a working binary into the cache, by renaming, so that concurrent runs never see an incomplete file.
 *
 * @param {string} binary
 */
async function keep(binary) {
  await run(binary, ['version']);
  mkdirSync(cacheFolder(), { recursive: true });
  const beside = `${cached()}.${process.pid}`;
  copyFileSync(binary, beside);
  renameSync(beside, cached());
  return cached();
}

/**
 * The release archive, verified against the site's SHA256SUMS.
 *
 * @param {string} folder
 */
async function fromHashiCorp(folder) {
  const name = `consul_${RELEASE}_${platform()}_${arch() === 'x64' ? 'amd64' : arch()}.zip`;
  const sums = await download(`${RELEASE_SITE}/${RELEASE}/consul_${RELEASE}_SHA256SUMS`, REACHABLE_TIMEOUT_MS);
  const expected = sums
    .toString()
    .split('\n')
    .find((line) => line.endsWith(`  ${name}`))
    ?.split(' ')[0];
  if (expected === undefined) throw new Error(`no ${name} in release ${RELEASE}`);
  const zip = await download(`${RELEASE_SITE}/${RELEASE}/${name}`, DOWNLOAD_TIMEOUT_MS);
  const found = createHash('sha256').update(zip).digest('hex');
  if (found !== expected) throw new Error(`${name}: expected SHA-256 ${expected}, found ${found}`);
  writeFileSync(join(folder, name), zip);
  await run('unzip', ['-q', name, 'consul'], { cwd: folder });
  return join(folder, 'consul');
}

/**
 * @param {string} url
 * @param {number} timeoutMs
 */
async function download(url, timeoutMs) {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) }).catch((/** @type {Error} */ reason) => {
    throw new Error(`${url}: ${reason.cause instanceof Error ? reason.cause.message : reason.message}`);
  });
  if (!response.ok) throw new Error(`${url}: expected 200, found ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}

/**
 * Debian 11's package, with a separate apt state: apt verifies the mirror's signature and the package's checksum, and
 * the machine's apt is not changed.
 *
 * @param {string} folder
 */
async function fromDebian(folder) {
  if (platform() !== 'linux') throw new Error('only on Linux');
  const mirrors = await debianMirrors();
  if (mirrors.length === 0) throw new Error("this machine's apt names no Debian mirror");
  const options = privateApt(folder, mirrors);
  await run('apt-get', [...options, 'update'], { timeout: DOWNLOAD_TIMEOUT_MS });
  await run('apt-get', [...options, 'download', 'consul'], { cwd: folder, timeout: DOWNLOAD_TIMEOUT_MS });
  await run('sh', ['-c', 'dpkg-deb -x consul_*.deb unpacked'], { cwd: folder });
  return join(folder, 'unpacked', 'usr', 'bin', 'consul');
}

/** The archives of Debian itself that apt is configured for, without security updates, which are separate archives. */
async function debianMirrors() {
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(REPO_URI)']);
  return [...new Set(stdout.split('\n'))].filter((uri) => /\/debian\/?$/.test(uri));
}

/**
 * @param {string} folder
 * @param {readonly string[]} mirrors
 */
function privateApt(folder, mirrors) {
  for (const path of ['state/lists/partial', 'cache/archives/partial'])
    mkdirSync(join(folder, path), { recursive: true });
  writeFileSync(join(folder, 'status'), '');
  writeFileSync(join(folder, 'sources.list'), mirrors.map((uri) => `deb ${uri} bullseye main\n`).join(''));
  const settings = {
    'Dir::State': join(folder, 'state'),
    'Dir::State::status': join(folder, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Etc::sourcelist': join(folder, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    // Without it apt, as root, would switch to a user that may not write here.
    'APT::Sandbox::User': '',
    'Debug::NoLocking': '1',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = process.argv.includes('--find') ? findConsul() : await obtainConsul().catch(complain);
  if (path === undefined) process.exitCode = 1;
  else process.stdout.write(`${path}\n`);
}

/** @param {Error} reason */
function complain(reason) {
  process.stderr.write(`${reason.message}\n`);
  return undefined;
}
