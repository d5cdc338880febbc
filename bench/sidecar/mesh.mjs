// Two datacenters on loopback, from mesh files: an application and its sidecar in each, and a gateway in front of each.
//
//   client → sidecar (web) ─┬─────────────────────────────→ sidecar (app) → server      "pair"
//                           └→ gateway (one) → gateway (two) ↗                           "gateways"
//   client ────────────────────────── mutual TLS ────────────────────────→ server      "direct"
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { certificateAuthority } from '../../packages/testkit/dist/certificates.js';
import { firstJson, freePort, listening, start } from '../processes.mjs';

const MESHGATE = fileURLToPath(new URL('../../apps/gateway/dist/main.js', import.meta.url));
const SERVER = fileURLToPath(new URL('server.mjs', import.meta.url));
const TRUST_DOMAIN = '11111111-2222-3333-4444-555555555555.consul';

/**
 * @typedef {object} MeshPath path from the client to the server
 * @property {string} id
 * @property {number} port of 127.0.0.1 that the client connects to
 * @property {string} [tls] file with its mutual TLS settings; absent: plain text
 *
 * @typedef {object} Mesh
 * @property {readonly MeshPath[]} paths
 * @property {readonly number[]} pids of all proxies between client and server
 * @property {() => Promise<readonly number[]>} carried number of connections that each of the two gateways has accepted
 * so far
 * @property {() => Promise<void>} stop
 */

/**
 * @param {string} folder for its files
 * @returns {Promise<Mesh>} once all of it listens
 */
export async function startMesh(folder) {
  const ports = await somePorts();
  const credentials = writeCredentials(folder);
  writeMeshFiles(folder, ports);
  const server = start(process.execPath, [SERVER, credentials.app]);
  const started = [server];
  try {
    const application = await firstJson(server);
    writeService(folder, 'two', appService(ports, application.plain));
    const parts = [
      ['gateway', 'one', ports.gatewayOne, ports.adminOne],
      ['gateway', 'two', ports.gatewayTwo, ports.adminTwo],
      ['app', 'two', ports.appSidecar, 0],
      ['web', 'one', ports.pair, 0],
    ];
    for (const [name, datacenter, port, admin] of parts) {
      const part = start(process.execPath, commandOf({ folder, name, datacenter, admin }));
      started.push(part);
      await listening(part, port);
    }
    await listening(started.at(-1), ports.gateways);
    return {
      paths: [
        { id: 'direct', port: application.tls, tls: credentials.web },
        { id: 'pair', port: ports.pair },
        { id: 'gateways', port: ports.gateways },
      ],
      pids: started.slice(1).map(({ pid }) => pid),
      carried: () => Promise.all([ports.adminOne, ports.adminTwo].map(acceptedBy)),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }

  async function stop() {
    await Promise.all(started.map((part) => part.stop()));
  }
}

const PORTS = ['gatewayOne', 'gatewayTwo', 'adminOne', 'adminTwo', 'webSidecar', 'appSidecar', 'pair', 'gateways'];

async function somePorts() {
  const ports = {};
  for (const name of PORTS) ports[name] = await freePort();
  return ports;
}

/**
 * @returns {{ readonly web: string, readonly app: string }} files for applications with their own TLS; those of the
 * sidecars are beside them
 */
function writeCredentials(folder) {
  const root = certificateAuthority('bench');
  writeFileSync(join(folder, 'ca.pem'), root.certificate);
  const issued = Object.entries({ web: 'one', app: 'two' }).map(([service, datacenter]) => {
    const id = `spiffe://${TRUST_DOMAIN}/ns/default/dc/${datacenter}/svc/${service}`;
    const { chain, privateKey } = root.issue({ uris: [id] });
    writeFileSync(join(folder, `${service}.pem`), chain);
    writeFileSync(join(folder, `${service}-key.pem`), privateKey);
    return { service, id, pem: { ca: root.certificate, cert: chain, key: privateKey } };
  });
  const [web, app] = issued;
  const serverName = `app.default.two.internal.${TRUST_DOMAIN}`;
  return {
    web: write(folder, 'web.json', { ...web.pem, server: app.id, serverName }),
    app: write(folder, 'app.json', { ...app.pem, client: web.id }),
  };
}

function writeMeshFiles(folder, ports) {
  for (const datacenter of ['one', 'two']) mkdirSync(join(folder, 'mesh', datacenter), { recursive: true });
  writeService(folder, 'one', gatewayService(ports.gatewayOne));
  writeService(folder, 'two', gatewayService(ports.gatewayTwo));
  writeService(folder, 'one', webService(ports));
}

function gatewayService(port) {
  const wan = { address: '127.0.0.1', port };
  return { name: 'gateway', kind: 'mesh-gateway', address: '127.0.0.1', port, tagged_addresses: { wan } };
}

/** One upstream twice: directly to the other sidecar, and through the gateway of its own datacenter. */
function webService({ webSidecar, pair, gateways }) {
  const upstream = (local_bind_port, mode) => ({
    destination_name: 'app',
    datacenter: 'two',
    local_bind_port,
    mesh_gateway: { mode },
  });
  const proxy = { upstreams: [upstream(pair, 'none'), upstream(gateways, 'local')] };
  return { name: 'web', port: 1, address: '127.0.0.1', connect: { sidecar_service: { port: webSidecar, proxy } } };
}

function appService({ appSidecar }, port) {
  return { name: 'app', port, address: '127.0.0.1', connect: { sidecar_service: { port: appSidecar } } };
}

function writeService(folder, datacenter, service) {
  write(join(folder, 'mesh', datacenter), `${service.name}.json`, { service });
}

function commandOf({ folder, name, datacenter, admin }) {
  const source = { use: 'file', mesh: 'mesh', datacenter, trustDomain: TRUST_DOMAIN };
  const tls = { ca: 'ca.pem', cert: `${name}.pem`, key: `${name}-key.pem` };
  const config = write(folder, `${name}-${datacenter}.config.json`, {
    sources: [name === 'gateway' ? source : { ...source, tls }],
    admin: { address: '127.0.0.1', port: admin },
    log: { level: 'error', access: false, format: 'json' },
    drain: { grace: '0s' },
  });
  const command = name === 'gateway' ? ['gateway'] : ['sidecar', '--sidecar-for', name];
  return [MESHGATE, ...command, '--config', config];
}

async function acceptedBy(admin) {
  const text = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
  const counts = [...text.matchAll(/^meshgate_connections_accepted_total\{[^}]*\} (\d+)/gm)];
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}

function write(folder, name, value) {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify(value));
  return path;
}
