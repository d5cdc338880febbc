// `npm start`: installs, builds, and runs the gateway on examples/quickstart with services behind it, until Ctrl-C.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { prepare, ROOT } from './workspace.mjs';

/** As in the files of the quick start. */
const PORTS = { gateway: 8443, admin: 19_000, api1: 9441, api2: 9442, web: 9443 };

/** The gateway is ready within a fraction of a second; a busy machine may need longer. */
const PATIENCE_MS = 30_000;

if (!(await prepare())) process.exit(1);
const folder = await mkdtemp(join(tmpdir(), 'meshgate-'));
try {
  process.exitCode = await quickStart(folder);
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** @returns {Promise<number>} the exit status of the gateway */
async function quickStart(temporary) {
  const ports = await freePorts();
  const { startServices } = await import('../examples/quickstart/services.mjs');
  const services = await startServices(ports);
  const ca = join(temporary, 'ca.pem');
  await writeFile(ca, services.ca);
  const gateway = startGateway(await configFor(ports, temporary));
  const ended = once(gateway, 'exit');
  try {
    if (await isReady(ports.admin, gateway)) welcome(ports, ca);
    const [status] = await ended;
    return status ?? 1;
  } finally {
    await services.stop();
  }
}

/** In its own process group: Ctrl-C reaches it once, through us, and not also from the terminal. */
function startGateway(config) {
  const main = join(ROOT, 'apps/gateway/dist/main.js');
  const gateway = spawn(process.execPath, [main, 'gateway', '--config', config], { stdio: 'inherit', detached: true });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => gateway.kill(signal));
  process.on('SIGHUP', () => gateway.kill('SIGTERM'));
  return gateway;
}

async function isReady(port, gateway) {
  const giveUpAt = performance.now() + PATIENCE_MS;
  while (gateway.exitCode === null && performance.now() < giveUpAt) {
    const response = await fetch(`http://127.0.0.1:${port}/ready`).catch(() => undefined);
    if (response?.ok) return true;
    await sleep(50);
  }
  return false;
}

function welcome({ gateway, admin }, ca) {
  console.log(`
The gateway is running. It routes TLS by the requested server name, without decrypting it. Try it:

  curl --cacert ${ca} --resolve api.example.com:${gateway}:127.0.0.1 https://api.example.com:${gateway}/

Admin: http://127.0.0.1:${admin}   Ctrl-C stops everything.
`);
}

/** The configured ports, or free ones in place of those in use. */
async function freePorts() {
  const entries = [];
  for (const [name, port] of Object.entries(PORTS)) {
    const free = (await bindable(port)) ?? (await bindable(0));
    if (free !== port) console.log(`port ${port} is in use: ${name} uses ${free} instead`);
    entries.push([name, free]);
  }
  return Object.fromEntries(entries);
}

/** @returns {Promise<number | undefined>} the port, if it is free */
async function bindable(port) {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    return server.address().port;
  } catch {
    return undefined;
  } finally {
    server.close();
  }
}

/** The configuration of the quick start: the file itself, so that it can be edited, or a copy with free ports. */
async function configFor(ports, temporary) {
  const source = join(ROOT, 'examples/quickstart');
  const changed = Object.keys(PORTS).filter((name) => ports[name] !== PORTS[name]);
  if (changed.length === 0) return join(source, 'meshgate.yaml');
  for (const file of ['meshgate.yaml', 'routes.yaml']) {
    let text = await readFile(join(source, file), 'utf8');
    for (const name of changed) text = text.replaceAll(`port: ${PORTS[name]}`, `port: ${ports[name]}`);
    await writeFile(join(temporary, file), text);
  }
  return join(temporary, 'meshgate.yaml');
}
