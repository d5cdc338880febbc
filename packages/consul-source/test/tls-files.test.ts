import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { certificateAuthority } from '@meshgate/testkit';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openAgent } from '../src/index.ts';
import type { Agent, AgentOptions } from '../src/index.ts';

const NAME = 'server.dc1.consul';

describe('TLS files towards the agent', () => {
  it('are read again at each new connection: a client certificate and its authority may be replaced', async () => {
    const folder = newFolder();
    const [first, second] = [certificateAuthority('first'), certificateAuthority('second')];
    const client = first.issue({ commonName: 'before' });
    write(folder, { 'ca.pem': first.certificate, 'cert.pem': client.chain, 'key.pem': client.privateKey });
    const server = await tlsAgent(first);
    const agent = open(server.port, filesIn(folder));
    expect(await whoAmI(agent)).toBe('before');
    const renewed = second.issue({ commonName: 'after' });
    write(folder, { 'ca.pem': second.certificate, 'cert.pem': renewed.chain, 'key.pem': renewed.privateKey });
    server.use(second);
    expect(await whoAmI(agent)).toBe('after');
  });

  it('report when the certificates of both sides expire, at each new connection', async () => {
    const folder = newFolder();
    const authority = certificateAuthority('agents');
    const expiry = new Date('2099-01-02T03:04:05Z');
    const client = authority.issue({ commonName: 'client', notAfter: expiry });
    write(folder, { 'ca.pem': authority.certificate, 'cert.pem': client.chain, 'key.pem': client.privateKey });
    const server = await tlsAgent(authority);
    const observed = new Map<string, Date>();
    const onCertificate = (whose: string, validUntil: Date): unknown => observed.set(whose, validUntil);
    const agent = open(server.port, filesIn(folder), { onCertificate });
    expect(await whoAmI(agent)).toBe('client');
    expect(observed.get('client')).toEqual(expiry);
    expect(observed.get('agent')?.getTime()).toBeGreaterThan(new Date().getTime());
  });

  it('may contain an authority that another one has issued', async () => {
    const folder = newFolder();
    const issuing = certificateAuthority('offline').intermediate('issuing');
    const client = issuing.issue({ commonName: 'client' });
    write(folder, { 'ca.pem': issuing.certificate, 'cert.pem': client.chain, 'key.pem': client.privateKey });
    const server = await tlsAgent(issuing);
    expect(await whoAmI(open(server.port, filesIn(folder)))).toBe('client');
  });

  it.each([
    ['one behind the other without a line break', ''],
    ['with a carriage return at the end of each line', '\r\n'],
    ['with prose between them', '\n# the next one\n'],
  ])('may contain several certificates %s', async (_case, between) => {
    const folder = newFolder();
    const authority = certificateAuthority('agents');
    const issuing = authority.intermediate('issuing');
    const client = issuing.issue({ commonName: 'client' });
    const joined = (...pems: readonly string[]): string =>
      pems.map((text) => text.trim().replaceAll('\n', between === '\r\n' ? '\r\n' : '\n')).join(between);
    const chain = joined(client.certificate, issuing.certificate);
    write(folder, {
      'ca.pem': joined(certificateAuthority('old').certificate, authority.certificate),
      'cert.pem': chain,
      'key.pem': joined(chain, client.privateKey),
    });
    const server = await tlsAgent(authority);
    expect(await whoAmI(open(server.port, filesIn(folder)))).toBe('client');
    expect(await whoAmI(open(server.port, { caPath: folder }))).toBe('nobody');
  });

  it('of which only half has been replaced stay in use as they were', async () => {
    const folder = newFolder();
    const authority = certificateAuthority('agents');
    const client = authority.issue({ commonName: 'before' });
    write(folder, { 'ca.pem': authority.certificate, 'cert.pem': client.chain, 'key.pem': client.privateKey });
    const server = await tlsAgent(authority);
    const agent = open(server.port, filesIn(folder));
    expect(await whoAmI(agent)).toBe('before');
    const renewed = authority.issue({ commonName: 'after' });
    write(folder, { 'cert.pem': renewed.chain });
    server.use(authority);
    expect(await whoAmI(agent)).toBe('before');
    rmSync(join(folder, 'key.pem'));
    server.use(authority);
    expect(await whoAmI(agent)).toBe('before');
    write(folder, { 'key.pem': renewed.privateKey });
    server.use(authority);
    expect(await whoAmI(agent)).toBe('after');
  });

  it.each([
    [
      'a key of another certificate',
      { 'key.pem': () => certificateAuthority('x').issue({}).privateKey },
      'found another in',
    ],
    ['an encrypted key', { 'key.pem': encrypted }, 'expected a private key without a password in'],
    ['a certificate that is cut short', { 'cert.pem': (pem: string) => pem.slice(0, 300) }, 'expected the end of each'],
    ['an empty authority', { 'ca.pem': () => '' }, 'expected a certificate in PEM in'],
  ])('are reported while there is %s, also to an agent that is opened meanwhile', async (_what, changes, words) => {
    const folder = newFolder();
    const authority = certificateAuthority('agents');
    const client = authority.issue({ commonName: 'before' });
    const good = { 'ca.pem': authority.certificate, 'cert.pem': client.chain, 'key.pem': client.privateKey };
    write(folder, good);
    const server = await tlsAgent(authority);
    const files = filesIn(folder);
    const agent = open(server.port, files);
    const problem = async () => ((await whoAmI(agent)) === 'before' ? agent.filesProblem : 'another client');
    expect(await problem()).toBeUndefined();
    for (const [name, change] of Object.entries(changes))
      write(folder, { [name]: change(good[name as keyof typeof good]) });
    await expect.poll(problem, PATIENT).toContain(words);
    expect(await whoAmI(open(server.port, files))).toBe('before');
    write(folder, good);
    await expect.poll(problem, PATIENT).toBeUndefined();
  });

  it('may be a folder of authorities as Kubernetes mounts one, with any other files in it', async () => {
    const folder = newFolder();
    const authority = certificateAuthority('agents');
    mkdirSync(join(folder, '..2026_01_01'));
    write(join(folder, '..2026_01_01'), { 'ca.pem': authority.certificate });
    symlinkSync('..2026_01_01', join(folder, '..data'));
    symlinkSync('..data/ca.pem', join(folder, 'ca.pem'));
    mkdirSync(join(folder, 'subfolder'));
    symlinkSync('nowhere', join(folder, 'dangling.pem'));
    write(folder, { 'README.txt': 'authorities of the agents' });
    writeFileSync(join(folder, 'ca.der'), new X509Certificate(authority.certificate).raw);
    const server = await tlsAgent(authority);
    expect(await whoAmI(open(server.port, { caPath: folder }))).toBe('nobody');
  });

  it('may have names of their holders in another encoding than UTF-8 beside the certificates', async () => {
    const folder = newFolder();
    const authority = certificateAuthority('agents');
    const commented = (pem: string): Buffer => Buffer.from(`friendlyName: M\u{FC}ller\n${pem}`, 'latin1');
    const client = authority.issue({ commonName: 'client' });
    writeFileSync(join(folder, 'ca.pem'), commented(authority.certificate));
    writeFileSync(join(folder, 'cert.pem'), commented(client.chain));
    writeFileSync(join(folder, 'key.pem'), commented(client.privateKey));
    const server = await tlsAgent(authority);
    expect(await whoAmI(open(server.port, filesIn(folder)))).toBe('client');
    expect(await whoAmI(open(server.port, { caPath: folder }))).toBe('nobody');
  });

  it('in a folder are followed: an authority that is added is used by the next connection', async () => {
    const folder = newFolder();
    const [first, second] = [certificateAuthority('first'), certificateAuthority('second')];
    write(folder, { 'first.pem': first.certificate });
    const server = await tlsAgent(second);
    const agent = open(server.port, { caPath: folder });
    await expect(whoAmI(agent)).rejects.toThrow(/unable to verify|self.signed|issuer/);
    write(folder, { 'second.pem': second.certificate });
    expect(await whoAmI(agent)).toBe('nobody');
  });
});

const PATIENT = { timeout: 10_000 };

function encrypted(pem: string): string {
  const protection = { cipher: 'aes-128-cbc', passphrase: 'secret' };
  return createPrivateKey(pem).export({ type: 'pkcs8', format: 'pem', ...protection }) as string;
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'meshgate-tls-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

function write(folder: string, pems: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(pems)) {
    writeFileSync(join(folder, `.${name}`), text);
    renameSync(join(folder, `.${name}`), join(folder, name));
  }
}

function filesIn(folder: string): NonNullable<AgentOptions['tls']> {
  return { caFile: join(folder, 'ca.pem'), certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') };
}

function open(port: number, tls: NonNullable<AgentOptions['tls']>, more: AgentOptions = {}): Agent {
  const agent = openAgent({ address: `https://127.0.0.1:${port}`, tlsServerName: NAME, tls, ...more }, 1);
  onTestFinished(() => agent.close());
  return agent;
}

async function whoAmI(agent: Agent): Promise<unknown> {
  const { text } = await agent.request({ path: 'x' }, new AbortController().signal);
  return JSON.parse(text);
}

/** An agent that responds with the name in the client's certificate, and closes the connection after each response. */
async function tlsAgent(authority: ReturnType<typeof certificateAuthority>) {
  const settings = (from: typeof authority) => {
    const { chain, privateKey } = from.issue({ dnsNames: [NAME] });
    return { cert: chain, key: privateKey, ca: from.certificate, requestCert: true, rejectUnauthorized: false };
  };
  const server = createServer(settings(authority), (incoming, outgoing) => {
    const { subject } = (incoming.socket as TLSSocket).getPeerCertificate();
    outgoing.setHeader('connection', 'close').end(JSON.stringify(subject?.CN ?? 'nobody'));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return {
    port: (server.address() as AddressInfo).port,
    use: (next: typeof authority) => server.setSecureContext(settings(next)),
  };
}
