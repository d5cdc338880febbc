// The folder of a demonstration: a copy of an example's files, with available addresses.
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';

/** Where a demonstration runs. Disposing of it removes its folder. */
export interface Stage extends AsyncDisposable {
  readonly folder: string;
  /** The actual address for `address` in the example's files. */
  at(address: Endpoint): Endpoint;
  /** Whether every address is on 127.0.0.1. */
  readonly oneAddress: boolean;
  /** For people, a line each: addresses of the files that are not available, and their replacements. */
  readonly moved: readonly string[];
}

/** What to copy, and the addresses in it. */
export interface StageOptions {
  /** The folder of the example. */
  readonly example: string;
  /** Folders in it. */
  readonly parts: readonly string[];
  /** Every address to listen on, as in the files. No port occurs twice, whatever its address. */
  readonly locations: readonly Endpoint[];
  /** Uses 127.0.0.1 for everything. */
  readonly oneAddress: boolean;
  /** Uses ports that the system chooses, instead of those in the files. */
  readonly freePorts: boolean;
}

/** Copies files into a new folder, and adapts addresses to this machine. */
export async function setUpStage({ example, parts, locations, oneAddress, freePorts }: StageOptions): Promise<Stage> {
  const alone = freePorts ? undefined : await listening(DOORBELL);
  const assigned = await claim(locations, oneAddress, alone === undefined);
  const folder = await mkdtemp(join(tmpdir(), 'meshgate-demo-'));
  const fill = (text: string): string => filledIn(text, assigned, oneAddress);
  for (const part of parts) await copyFilled(join(example, part), join(folder, part), fill);
  return {
    folder,
    at: (address) => assigned.get(address.port) ?? address,
    oneAddress,
    moved: freePorts ? [] : alone === undefined ? [NOT_ALONE] : movedOf(locations, assigned),
    async [Symbol.asyncDispose]() {
      if (alone !== undefined) await closed(alone);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Held while a demonstration runs. A concurrent one would otherwise see ports as free that are about to be used. */
const DOORBELL: Endpoint = { host: '127.0.0.1', port: 11_000 };
const NOT_ALONE = `${formatEndpoint(DOORBELL)} is in use, as by another demo: all ports differ from the files`;
const LOCALHOST = '127.0.0.1';

/** Whether each of these hosts can be listened on. */
export async function areAvailable(hosts: Iterable<string>): Promise<boolean> {
  for (const host of hosts) {
    const probe = await listening({ host, port: 0 });
    if (probe === undefined) return false;
    await closed(probe);
  }
  return true;
}

/** By port in the files: the available address, the same if possible. */
async function claim(
  locations: readonly Endpoint[],
  oneAddress: boolean,
  freePorts: boolean,
): Promise<ReadonlyMap<number, Endpoint>> {
  const assigned = new Map<number, Endpoint>();
  const probes: Server[] = [];
  for (const location of locations) {
    const host = oneAddress ? LOCALHOST : location.host;
    const wanted = freePorts ? undefined : await listening({ host, port: location.port });
    const probe = wanted ?? (await listening({ host, port: 0 }));
    if (probe === undefined) throw new Error(`expected a free port of ${host}, found none`);
    probes.push(probe);
    assigned.set(location.port, { host, port: (probe.address() as AddressInfo).port });
  }
  // All together, so that no two get the same port.
  await Promise.all(probes.map(closed));
  return assigned;
}

async function listening(at: Endpoint): Promise<Server | undefined> {
  const server = createServer();
  try {
    server.listen({ host: at.host, port: at.port });
    await once(server, 'listening');
    return server;
  } catch {
    return undefined;
  }
}

async function closed(server: Server): Promise<void> {
  server.close();
  await once(server, 'close');
}

function movedOf(locations: readonly Endpoint[], assigned: ReadonlyMap<number, Endpoint>): readonly string[] {
  return locations.flatMap(({ host, port }) => {
    const instead = assigned.get(port);
    if (instead === undefined || instead.port === port) return [];
    return [`${formatEndpoint({ host, port })} is in use: using ${formatEndpoint(instead)} instead`];
  });
}

function filledIn(text: string, assigned: ReadonlyMap<number, Endpoint>, oneAddress: boolean): string {
  const ports = text.replaceAll(/\b\d{5}\b/g, (port) => String(assigned.get(Number(port))?.port ?? port));
  return oneAddress ? ports.replaceAll(/\b127\.0\.\d+\.\d+\b/g, LOCALHOST) : ports;
}

async function copyFilled(from: string, to: string, fill: (text: string) => string): Promise<void> {
  const entries = await readdir(from, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((one) => one.isFile())) {
    const file = join(entry.parentPath, entry.name);
    const copy = join(to, relative(from, file));
    await mkdir(dirname(copy), { recursive: true });
    await writeFile(copy, fill(await readFile(file, 'utf8')));
  }
}
