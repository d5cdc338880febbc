import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { HELP, parseCommand } from '../src/options.ts';
import { AGENTS, GATEWAYS, REQUESTS, SERVICES } from '../src/picture.ts';
import { issueCertificates, setUp } from '../src/stage.ts';

const EXAMPLE = fileURLToPath(new URL('..', import.meta.url));
const AS_WRITTEN = { freePorts: false, oneAddress: false };
const ELSEWHERE = { freePorts: true, oneAddress: true };

/** Contents of all files in a folder and its subfolders. */
function contentsOf(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'));
}

/** The example's ports have five digits, and nothing else has. */
function portsIn(text: string): readonly number[] {
  return Array.from(text.matchAll(/\b\d{5}\b/g), ([port]) => Number(port));
}

describe('the files of the example', () => {
  it('have the addresses of the diagram, each port only once', () => {
    const locations = [
      ...GATEWAYS.flatMap(({ lan, wan, admin }) => [lan, wan, admin]),
      ...SERVICES.flatMap(({ application, sidecar, admin }) => [application, sidecar, admin]),
      ...REQUESTS.map(({ at }) => at),
      ...AGENTS.flatMap(({ http, others }) => [http, ...others]),
    ];
    const ports = locations.map(({ port }) => port);
    expect(new Set(ports).size).toBe(ports.length);
    const written = ['mesh', 'config', 'consul']
      .flatMap((folder) => contentsOf(join(EXAMPLE, folder)))
      .flatMap(portsIn);
    expect(new Set(written)).toEqual(new Set(ports));
  });
});

describe('the folder of a demo', () => {
  it.each(['mesh-files', 'consul'] as const)(
    'has other addresses where requested, and only there: %s',
    async (form) => {
      await using stage = await setUp(form, ELSEWHERE);
      const text = contentsOf(stage.folder).join('\n');
      expect(text.match(/\b127\.0\.[129]\.\d+/g)).toBeNull();
      const moved = [...GATEWAYS.flatMap(({ lan, wan }) => [lan, wan]), ...SERVICES.map(({ sidecar }) => sidecar)];
      for (const location of moved) {
        const { host, port } = stage.at(location);
        expect(host).toBe('127.0.0.1');
        expect(text).toMatch(new RegExp(`\\b${port}\\b`));
      }
      expect(contentsOf(join(stage.folder, 'mesh')).length).toBe(contentsOf(join(EXAMPLE, 'mesh')).length);
    },
  );

  it('a second one at the same time shares no port with the first', async () => {
    await using first = await setUp('mesh-files', AS_WRITTEN);
    await using second = await setUp('mesh-files', AS_WRITTEN);
    const ports = [first, second].map((stage) => REQUESTS.map(({ at }) => stage.at(at).port));
    expect(ports[0]?.filter((port) => ports[1]?.includes(port))).toEqual([]);
    expect(second.moved).toEqual([expect.stringContaining('as by another demo: all ports differ from the files')]);
  });

  it('a port in use is replaced by a free one, which is reported', async () => {
    const [request] = REQUESTS;
    const at = request?.at ?? { host: '', port: 0 };
    const server = createServer().listen(at);
    // If another process has it, that serves as well.
    await once(server, 'listening').catch(() => undefined);
    await using stage = await setUp('mesh-files', AS_WRITTEN);
    const instead = stage.at(at);
    server.close();
    expect(instead.port).not.toBe(at.port);
    const exchanged = `${at.host}:${at.port} is in use: using ${instead.host}:${instead.port} instead`;
    // Unless another demonstration runs beside the tests.
    expect([exchanged, expect.stringContaining('another demo')]).toContainEqual(stage.moved[0]);
    expect(contentsOf(join(stage.folder, 'mesh', 'primary')).join('\n')).toContain(
      `local_bind_port  = ${instead.port}`,
    );
  });

  it('has a certificate for each service with a private key, and is removed completely', async () => {
    const stage = await setUp('mesh-files', ELSEWHERE);
    await issueCertificates(stage);
    for (const { name } of SERVICES)
      expect(readFileSync(join(stage.folder, 'certificates', `${name}.pem`), 'utf8')).toContain('BEGIN CERTIFICATE');
    await stage[Symbol.asyncDispose]();
    expect(existsSync(stage.folder)).toBe(false);
  });
});

describe('README.md', () => {
  it('has every flag, and no other', () => {
    const page = readFileSync(join(EXAMPLE, 'README.md'), 'utf8');
    const documented = Array.from(page.matchAll(/^\| `(--[\w-]+)`/gm), ([, flag = '']) => flag);
    const known = Array.from(HELP.matchAll(/^ {2}(--[\w-]+)/gm), ([, flag = '']) => flag);
    expect([...documented, '--help'].sort()).toEqual([...known].sort());
    for (const flag of documented) expect(parseCommand([flag])).toMatchObject({ kind: 'run' });
  });
});
