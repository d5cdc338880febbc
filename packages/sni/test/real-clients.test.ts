import { spawn, spawnSync } from 'node:child_process';
import { connect as connectTcp } from 'node:net';
import { connect } from 'node:tls';
import { everyPrefix, recordHello } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { parseClientHello } from '../src/index.ts';
import { arriving } from './feeding.ts';

const NAME = 'web.example.com';

/** A client that is run as a command. */
interface Command {
  readonly name: string;
  readonly command: string;
  readonly version: readonly string[];
  readonly arguments: (port: number) => readonly string[];
  readonly alpn: readonly string[];
}

const PYTHON = `import socket, ssl, sys
context = ssl.create_default_context()
context.set_alpn_protocols(['h2'])
context.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[1]))), server_hostname=sys.argv[2])`;

const COMMANDS: readonly Command[] = [
  {
    name: 'openssl s_client',
    command: 'openssl',
    version: ['version'],
    arguments: (port) => ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', NAME, '-alpn', 'h2,http/1.1'],
    alpn: ['h2', 'http/1.1'],
  },
  {
    name: 'openssl s_client of TLS 1.2',
    command: 'openssl',
    version: ['version'],
    arguments: (port) => ['s_client', '-tls1_2', '-connect', `127.0.0.1:${port}`, '-servername', NAME],
    alpn: [],
  },
  {
    name: 'curl',
    command: 'curl',
    version: ['--version'],
    arguments: (port) => [
      '-sk',
      '--noproxy',
      '*',
      '--http1.1',
      '--connect-to',
      `::127.0.0.1:${port}`,
      `https://${NAME}/`,
    ],
    alpn: ['http/1.1'],
  },
  {
    name: 'Python',
    command: 'python3',
    version: ['-c', 'import ssl'],
    arguments: (port) => ['-c', PYTHON, String(port), NAME],
    alpn: ['h2'],
  },
];

describe('the hello of', () => {
  it('Node is parsed', async () => {
    const bytes = await recordHello((port) => {
      connect({ host: '127.0.0.1', port, servername: NAME, ALPNProtocols: ['h2'] }).on('error', () => undefined);
    });
    expectRead(bytes, ['h2']);
  });

  it.for(COMMANDS)('$name is parsed', async ({ command, version, arguments: argumentsFor, alpn }, { skip }) => {
    skip(spawnSync(command, version, { stdio: 'ignore' }).status !== 0, `needs ${command}, which is not installed`);
    let exited: Promise<unknown> = Promise.resolve();
    const bytes = await recordHello((port) => {
      const client = spawn(command, argumentsFor(port), { stdio: 'ignore' });
      exited = new Promise((resolve) => client.once('close', resolve));
    });
    await exited;
    expectRead(bytes, alpn);
  });
});

describe('a client that closes before its hello is complete', () => {
  it('is reported by the recording', async () => {
    const recording = recordHello((port) => connectTcp(port, '127.0.0.1').end(Buffer.of(22, 3, 1)));
    await expect(recording).rejects.toThrow('expected a complete ClientHello, found the end after 3 bytes');
  });
});

function expectRead(bytes: Uint8Array, alpn: readonly string[]): void {
  expect(parseClientHello(bytes)).toMatchObject({ kind: 'hello', serverName: NAME, alpn, length: bytes.length });
  for (const prefix of everyPrefix(bytes)) expect(parseClientHello(prefix).kind).toBe('more');
  expect([...arriving(bytes, 1)].at(-1)).toStrictEqual(parseClientHello(bytes));
}
