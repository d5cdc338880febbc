import { execFile, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Endpoint } from '@meshgate/core';
import {
  certificateAuthority,
  clientHello,
  inRecords,
  rawClient,
  tlsBackend,
  tlsClient,
  X25519,
  X25519_MLKEM768,
} from '@meshgate/testkit';
import type { CertificateAuthority, TlsTestBackend } from '@meshgate/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fragmentingRelay } from './fragmenting-relay.ts';
import type { Cut } from './fragmenting-relay.ts';
import { startProxy } from './proxy.ts';
import type { TestProxy } from './proxy.ts';

const NAMES = ['api.example.com', 'web.example.com'] as const;

/** Requests the name of the service `name` over TLS, through `at`. */
type Client = (at: Endpoint, name: string, caFile: string) => Promise<string>;

const CLIENTS: Readonly<Record<string, Client>> = {
  'node:tls': async (at, name) => {
    await using client = await tlsClient(at, name, { ca: authority.certificate });
    return await client.get();
  },
  curl: async ({ host, port }, name, caFile) => {
    const args = ['--silent', '--show-error', '--max-time', '10', '--cacert', caFile];
    const { stdout } = await promisify(execFile)('curl', [
      ...args,
      '--resolve',
      `${name}:${port}:${host}`,
      `https://${name}:${port}/`,
    ]);
    return stdout;
  },
  openssl: ({ host, port }, name, caFile) => {
    const args = [
      's_client',
      '-quiet',
      '-verify_return_error',
      '-CAfile',
      caFile,
      '-servername',
      name,
      '-connect',
      `${host}:${port}`,
    ];
    return answered('openssl', args, `GET / HTTP/1.1\r\nhost: ${name}\r\n\r\n`);
  },
};

const CUTS: readonly (readonly [string, Cut])[] = [
  ['as it comes', { segmentBytes: 65_536 }],
  ['split at every byte', { segmentBytes: 1 }],
  ['in records of 1 byte', { recordBytes: 1, segmentBytes: 1_000 }],
  ['in records of 2 bytes', { recordBytes: 2, segmentBytes: 1_000 }],
  ['in records of 17 bytes', { recordBytes: 17, segmentBytes: 1 }],
  ['in records of 512 bytes', { recordBytes: 512, segmentBytes: 100 }],
];

let authority: CertificateAuthority;
let backends: readonly TlsTestBackend[];
let proxy: TestProxy;
let folder: string;

beforeAll(async () => {
  authority = certificateAuthority('real clients');
  backends = await Promise.all(NAMES.map((name) => tlsBackend(name, { authority })));
  const routes = backends.map(({ name, address }) => ({
    name,
    serverNames: [name],
    backends: [{ address, weight: 1, healthy: true }],
  }));
  proxy = await startProxy({ routes });
  folder = await mkdtemp(join(tmpdir(), 'meshgate-test-'));
  await writeFile(join(folder, 'ca.pem'), authority.certificate);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  for (const backend of backends) await backend[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

describe.each(Object.entries(CLIENTS))('a hello of %s', (program, query) => {
  it.for(CUTS)('%s reaches the service that it requests', async ([_how, cut], { skip }) => {
    skip(!isThere(program), `needs ${program}, which is not installed`);
    for (const name of NAMES) {
      await using relay = await fragmentingRelay(proxy.address, cut);
      expect(await query(relay, name, join(folder, 'ca.pem'))).toContain(name);
    }
  });
});

it("a hello as large as a browser's, with a post-quantum key share, arrives complete for any split", async () => {
  const message = clientHello({
    serverName: NAMES[0],
    grease: true,
    keyShares: [X25519_MLKEM768, X25519],
    padToBytes: 1_800,
  });
  for (const size of [1, 2, 17, 512, 16_384]) {
    // A client of an earlier test may have had the same port.
    const earlier = new Set(proxy.events.all('connection.connected'));
    await using client = await rawClient(proxy.address);
    await client.send(inRecords(message, size));
    const { upstream } = await proxy.events.until(
      'connection.connected',
      (event) => !earlier.has(event) && event.connection.remote.port === client.local.port,
    );
    expect(upstream.route.name).toBe(NAMES[0]);
  }
});

function isThere(program: string): boolean {
  if (program === 'node:tls') return true;
  return spawnSync(program, [program === 'openssl' ? 'version' : '--version'], { stdio: 'ignore' }).status === 0;
}

/** The output of `program` until it exits by itself: after `input` nothing is written to it. */
async function answered(program: string, args: readonly string[], input: string): Promise<string> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'] });
  child.stdin.write(input);
  let output = '';
  for await (const chunk of child.stdout) output += String(chunk);
  return output;
}
