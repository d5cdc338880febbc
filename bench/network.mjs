// A network namespace for the run, with enough local ports. Closed connections keep their ports for one to two seconds
// (TIME_WAIT, reused early on loopback: net.ipv4.tcp_tw_reuse), so that the usual 28,000 limit every proxy to 14,000
// connections per second, whatever its speed.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { HIGHEST_PORT, which } from './processes.mjs';

const PORT_RANGE = '/proc/sys/net/ipv4/ip_local_port_range';
const INSIDE = 'MESHGATE_BENCH_IN_NAMESPACE';
const MAX_PORT = 65_535;
const TIME_WAIT_SECONDS = 2;

/**
 * Runs the current command again in a network namespace of its own, with the same arguments and standard streams.
 *
 * @param {(message: string) => void} warn called if the system does not permit namespaces
 * @returns {Promise<boolean>} whether it has run there; `false` inside, and where there are no namespaces
 */
export async function ranInOwnNetwork(warn) {
  if (process.env[INSIDE] !== undefined) return false;
  const command = commandOfNamespace();
  if (command === undefined) {
    warn(
      `no network namespace of its own (unshare, ip): at most ${ratePossible()} connections per second, by local ports`,
    );
    return false;
  }
  const [program, ...args] = [...command, process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn(program, args, { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } });
  // Before the listeners that end this process.
  for (const signal of ['SIGINT', 'SIGTERM']) process.prependListener(signal, () => child.kill(signal));
  const [code] = await once(child, 'exit');
  process.exitCode = code ?? 1;
  return true;
}

/** @returns {readonly string[] | undefined} the words before a command that is to run in a new namespace */
function commandOfNamespace() {
  const unshare = which('unshare');
  const ip = which('ip');
  if (unshare === undefined || ip === undefined) return undefined;
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const prepare = `"${ip}" link set lo up && echo "${HIGHEST_PORT + 1} ${MAX_PORT}" > ${PORT_RANGE} && exec "$@"`;
  const command = [unshare, ...user, '--net', 'sh', '-c', prepare, 'sh'];
  const [program, ...args] = command;
  return spawnSync(program, [...args, 'true']).status === 0 ? command : undefined;
}

function ratePossible() {
  const [first = 0, last = 0] = readFileSync(PORT_RANGE, 'utf8').trim().split(/\s+/).map(Number);
  return Math.round((last - first + 1) / TIME_WAIT_SECONDS);
}
