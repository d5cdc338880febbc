// The effect of a reload on connections: 10,000 routes that change repeatedly, while connections are made at full rate.
import { renameSync, writeFileSync } from 'node:fs';
import { routesTo } from './contestants.mjs';
import { drive } from './load.mjs';

const ROUTES = 10_000;
// Each is a new file under the old name, as editors and configuration management write them.
const EVERY_MS = 1_000;

/**
 * @typedef {object} Reload
 * @property {number} reloads how often the routes were replaced
 * @property {Calm} quiet connections with 10,000 constant routes
 * @property {Calm} reloading the same while they are replaced
 *
 * @typedef {object} Calm
 * @property {number} perSecond
 * @property {number} p99Ms
 * @property {number} p999Ms
 * @property {number} maxMs
 * @property {number} failed
 */

/**
 * @param {object} run
 * @param {import('./load.mjs').Programs} run.programs
 * @param {import('./contestants.mjs').Proxy} run.proxy
 * @param {Readonly<Record<string, number>>} run.sinks
 * @param {(backend: string) => string} run.hello
 * @param {number} run.seconds
 * @returns {Promise<Reload>}
 */
export async function reload({ programs, proxy, sinks, hello, seconds }) {
  const args = ['--mode', 'rate', '--port', `${proxy.portFor('reply')}`, '--hello', hello('reply')];
  const load = () => drive(programs, [...args, '--seconds', `${seconds}`]);
  replaceRoutes(proxy.routeFile, sinks, 0);
  // The first pass loads the new routes; the second finds them unchanged.
  await load();
  const quiet = calm(await load());
  let reloads = 0;
  const timer = setInterval(() => replaceRoutes(proxy.routeFile, sinks, (reloads += 1)), EVERY_MS);
  try {
    const reloading = calm(await load());
    return { reloads, quiet, reloading };
  } finally {
    clearInterval(timer);
  }
}

function calm({ perSecond, p99Us, p999Us, maxUs, refused, cut, unanswered }) {
  const failed = refused + cut + unanswered;
  return { perSecond, p99Ms: p99Us / 1e3, p999Ms: p999Us / 1e3, maxMs: maxUs / 1e3, failed };
}

function replaceRoutes(file, sinks, generation) {
  const others = Array.from({ length: ROUTES }, (_, index) => ({
    name: `route-${index}`,
    serverNames: [`service-${index}.mesh.example`],
    backends: [{ address: `10.${generation & 255}.0.1`, port: 8443 }],
  }));
  writeFileSync(`${file}.new`, JSON.stringify({ routes: [...routesTo(sinks), ...others] }));
  renameSync(`${file}.new`, file);
}
