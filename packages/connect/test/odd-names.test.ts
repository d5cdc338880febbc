import { certificateAuthority, rawClient, tcpBackend } from '@meshgate/testkit';
import type { CertificateAuthority } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import type { Credentials } from '@meshgate/mesh';
import { credentialsOf, leafOf, targetOf, upstreamOf, viewOf } from './mesh.ts';
import { startSidecar } from './sidecar.ts';

const root = certificateAuthority('root');

/**
 * Connects through a sidecar of `caller` to one of `called`, which only admits `caller`. Returns the response, and how
 * the connection ended on both sides.
 */
async function exchange(
  [caller, one]: readonly [service: string, credentials: Credentials],
  [called, other]: readonly [service: string, credentials: Credentials],
) {
  await using application = await tcpBackend('db');
  await using server = await startSidecar({
    credentials: other,
    view: viewOf({
      service: called,
      application: application.address,
      intentions: [{ source: caller, destination: called, action: 'allow' }],
      intentionDefault: 'deny',
    }),
  });
  const upstreams = [upstreamOf(called, [targetOf({ service: called, at: [await server.address()] })])];
  await using client = await startSidecar({ credentials: one, view: viewOf({ service: caller, upstreams }) });
  await using connection = await rawClient(await client.address(`upstream:${called}`));
  await connection.send('hello');
  const response = await connection.receive(5).catch(() => 'none');
  connection.end();
  return {
    response: response.toString(),
    client: await client.endings(`upstream:${called}`),
    server: await server.endings('public'),
  };
}

const WELL = { response: 'hello', client: ['OK'], server: ['OK'] };

describe('a handshake of mutual TLS', () => {
  it.each([
    ['web', 'db@v2'],
    ['web@v2', 'db:5432'],
    ['a+b', 'team$db'],
    ['__proto__', 'constructor'],
    ['toString', '__proto__'],
  ])('between a service named %s and one named %s works, by identity and intention', async (caller, called) => {
    const of = (service: string): Credentials => credentialsOf(leafOf(root, service), root);
    expect(await exchange([caller, of(caller)], [called, of(called)])).toEqual(WELL);
  });

  it('is refused to a service whose name only has the same prefix', async () => {
    const of = (service: string): Credentials => credentialsOf(leafOf(root, service), root);
    expect((await exchange(['web', of('web')], ['db@v2', of('db')])).client).toEqual(['UPSTREAM_UNTRUSTED']);
  });
});

describe('a bundle of roots in which the root that is needed is the last', () => {
  const others = [certificateAuthority('old'), certificateAuthority('older')];
  const pems = [...others, root].map(({ certificate }: CertificateAuthority) => certificate.trim());

  it.each([
    ['one behind the other without a line break', pems.join('')],
    ['with a carriage return at the end of each line', pems.join('\n').replaceAll('\n', '\r\n')],
    ['with a carriage return alone at the end of each line', pems.join('\n').replaceAll('\n', '\r')],
    ['with prose on the lines between them', `roots:\n${pems.join('\n# issuer=CN = root-2\n')}\nthe end`],
    ['with prose on the lines of the roots', `roots: ${pems.join(' and ')} the end`],
    ['with a byte order mark', `\u{FEFF}${pems.join('\n')}`],
  ])('is trusted completely, by the client and by the server: %s', async (_case, text) => {
    const of = (service: string): Credentials => ({ ...credentialsOf(leafOf(root, service)), roots: [text] });
    expect(await exchange(['web', of('web')], ['db', of('db')])).toEqual(WELL);
  });

  it('works with a chain and a key that are concatenated in the same way', async () => {
    const leaf = leafOf(root.intermediate('secondary'), 'web');
    const glued = leaf.chain.replaceAll('-----\n-----', '----------');
    const web = credentialsOf({ ...leaf, chain: glued, privateKey: `${glued.trim()}${leaf.privateKey}` }, root);
    expect(await exchange(['web', web], ['db', credentialsOf(leafOf(root, 'db'), root)])).toEqual(WELL);
  });
});
