import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { gatewayFolder, startGateway } from './daemon.ts';

/** Requests that no HTTP library would send, each with the status of the response; `closed` if there is none. */
const REQUESTS: readonly (readonly [what: string, request: string, status: string])[] = [
  ['a host of somebody else', 'GET /ready HTTP/1.1\r\nHost: evil.example\r\n\r\n', '403'],
  ['two hosts', 'GET /ready HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n', '400'],
  ['no host, as HTTP/1.0 allows', 'GET /ready HTTP/1.0\r\n\r\n', '200'],
  ['no host, as HTTP/1.1 does not allow', 'GET /ready HTTP/1.1\r\n\r\n', '400'],
  ['a whole URL in place of the path', 'GET http://evil.example/ready HTTP/1.1\r\nHost: localhost\r\n\r\n', '404'],
  ['TRACE', 'TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n', '405'],
  ['CONNECT', 'CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n', 'closed'],
  ['an upgrade', 'GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n', '200'],
  ['a method that does not exist', 'BREW /ready HTTP/1.1\r\nHost: localhost\r\n\r\n', '400'],
  ['a path that leaves the folder', 'GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n', '404'],
  ['a path that is no UTF-8', 'GET /connections/%ff%00 HTTP/1.1\r\nHost: localhost\r\n\r\n', '404'],
  ['a change of a page', 'POST /drain HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n', '403'],
  ['a wait that is none', 'GET /drain?wait=soon HTTP/1.1\r\nHost: localhost\r\n\r\n', '400'],
  ['a drain with a wait that is none', 'POST /drain?wait=soon HTTP/1.1\r\nHost: localhost\r\n\r\n', '400'],
  ['a body of a terabyte', 'GET /ready HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\nx', '200'],
  ['a length that is none', 'GET /ready HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n', '400'],
  [
    'two lengths',
    'GET /ready HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    '400',
  ],
  ['a header of nine kilobytes', `GET /ready HTTP/1.1\r\nHost: localhost\r\nX: ${'a'.repeat(9_000)}\r\n\r\n`, '431'],
  ['a header that does not end', 'GET /ready HTTP/1.1\r\nHost: localhost\r\nX-Slow: ', '408'],
  ['TLS', '\u0016\u0003\u0001\u0002\u0000\u0001', '400'],
];

/** The status of the response; resolves with it, or when the connection is closed. */
async function statusOf(url: string, request: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  let received = '';
  socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
  await once(socket, 'connect');
  socket.write(request, 'latin1');
  const answered = new Promise<void>((resolve) => socket.on('data', () => resolve()).once('close', () => resolve()));
  await answered;
  socket.destroy();
  return /^HTTP\/1\.1 (\d+)/.exec(received)?.[1] ?? 'closed';
}

describe('the admin API, with hostile requests', () => {
  it('responds or closes, each within its time, and changes nothing', { timeout: 60_000 }, async () => {
    await using files = await gatewayFolder([]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const found = await Promise.all(
      REQUESTS.map(async ([what, request]) => [what, await statusOf(gateway.admin, request)]),
    );
    expect(found).toEqual(REQUESTS.map(([what, _request, status]) => [what, status]));
    expect(await gateway.query('/drain')).toMatchObject({ status: 200, json: { state: 'serving' } });
    expect(await gateway.query('/ready')).toMatchObject({ status: 200 });
    expect(gateway.lines.filter(({ level }) => level === 'error' || level === 'fatal')).toEqual([]);
  });

  it('is not kept from its work by a thousand requests at once that nobody waits for', async () => {
    await using files = await gatewayFolder([]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const request = 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n';
    const { hostname, port } = new URL(gateway.admin);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    socket.write(request.repeat(1_000));
    await once(socket.resume(), 'close');
    // As many as a client may pipeline.
    const answered = connect(Number(port), hostname);
    answered.write(`${request.repeat(3)}${request.replace('Host', 'Connection: close\r\nHost')}`);
    const chunks = (await answered.toArray()) as Buffer[];
    expect(Buffer.concat(chunks).toString().split('HTTP/1.1 200')).toHaveLength(5);
    expect(gateway.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });
});
