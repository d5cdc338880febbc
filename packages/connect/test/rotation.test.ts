import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Endpoint } from '@meshgate/core';
import { certificateAuthority, rawClient, tcpBackend, tlsClient } from '@meshgate/testkit';
import type { CertificateAuthority } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { fileCredentials } from '../src/index.ts';
import { credentialsOf, leafOf, targetOf, upstreamOf, viewOf } from './mesh.ts';
import { startSidecar, Observed } from './sidecar.ts';
import type { TestSidecar } from './sidecar.ts';

const oldRoot = certificateAuthority('old root');
const newRoot = certificateAuthority('new root');

/** A stream that keeps sending and expects each message back, until it is stopped. */
class Chatter {
  readonly done: Promise<number>;
  #finish = false;

  constructor(at: Endpoint) {
    this.done = this.#talk(at);
  }

  finish(): Promise<number> {
    this.#finish = true;
    return this.done;
  }

  async #talk(at: Endpoint): Promise<number> {
    await using client = await rawClient(at);
    let logged = 0;
    for (; !this.#finish || logged < 10; logged += 1) {
      await client.send('still here');
      expect((await client.receive(10)).toString()).toBe('still here');
    }
    client.end();
    await client.finished;
    return logged;
  }
}

async function pair(one: Observed<ReturnType<typeof credentialsOf>>, two: typeof one) {
  const application = await tcpBackend('db');
  const db = await startSidecar({
    credentials: two,
    view: viewOf({ service: 'db', application: application.address }),
  });
  const upstreams = [upstreamOf('db', [targetOf({ service: 'db', at: [await db.address()] })])];
  const web = await startSidecar({ credentials: one, view: viewOf({ service: 'web', upstreams }) });
  return {
    web,
    db,
    async [Symbol.asyncDispose](): Promise<void> {
      for (const part of [web, db, application]) await part[Symbol.asyncDispose]();
    },
  };
}

/** Resolves once `notify` has caused new credentials to be in use. */
async function installed(sidecar: TestSidecar, notify: () => void): Promise<void> {
  const before = sidecar.identity.current;
  notify();
  const signal = AbortSignal.timeout(5_000);
  for await (const identity of sidecar.identity.changes(signal)) if (identity !== before) return;
  throw new Error('expected the credentials to be taken');
}

describe('rotation', () => {
  it('of authorities and leaves under load cuts nothing, and handshakes succeed all the time', async () => {
    const one = new Observed('ca', credentialsOf(leafOf(oldRoot, 'web'), oldRoot));
    const two = new Observed('ca', credentialsOf(leafOf(oldRoot, 'db'), oldRoot));
    await using sidecars = await pair(one, two);
    const { web, db } = sidecars;
    const at = await web.address('upstream:db');
    const chatters = Array.from({ length: 20 }, () => new Chatter(at));
    const issue = (authority: CertificateAuthority, service: string) =>
      credentialsOf(leafOf(authority, service), oldRoot, newRoot);
    const steps: readonly (readonly [TestSidecar, () => void])[] = [
      [web, () => one.notify(issue(oldRoot, 'web'))],
      [db, () => two.notify(issue(oldRoot, 'db'))],
      [web, () => one.notify(issue(newRoot, 'web'))],
      [db, () => two.notify(issue(newRoot, 'db'))],
      [web, () => one.notify(credentialsOf(leafOf(newRoot, 'web'), newRoot))],
      [db, () => two.notify(credentialsOf(leafOf(newRoot, 'db'), newRoot))],
    ];
    for (const [sidecar, notify] of steps) {
      await installed(sidecar, notify);
      chatters.push(...Array.from({ length: 5 }, () => new Chatter(at)));
    }
    const logged = await Promise.all(chatters.map((chatter) => chatter.finish()));
    expect(Math.min(...logged)).toBeGreaterThanOrEqual(10);
    expect(new Set(await web.endings('upstream:db', chatters.length))).toEqual(new Set(['OK']));
    expect(new Set(await db.endings('public', chatters.length))).toEqual(new Set(['OK']));
  });

  it('new handshakes use the new leaf, and trust no removed root', async () => {
    const one = new Observed('ca', credentialsOf(leafOf(oldRoot, 'web'), oldRoot));
    const two = new Observed('ca', credentialsOf(leafOf(oldRoot, 'db'), oldRoot));
    await using sidecars = await pair(one, two);
    const { web, db } = sidecars;
    await installed(db, () => two.notify(credentialsOf(leafOf(newRoot, 'db', { commonName: 'new leaf' }), newRoot)));
    await using shown = await tlsClient(await db.address(), 'db', { identity: leafOf(newRoot, 'web') });
    expect(shown.serverCertificateName).toBe('new leaf');
    await using client = await rawClient(await web.address('upstream:db'));
    await client.closed;
    expect((await web.failure('upstream:db')).code).toBe('UPSTREAM_UNTRUSTED');
  });

  it('to a leaf that does not match its key changes nothing, and is reported', async () => {
    const good = leafOf(oldRoot, 'web');
    const one = new Observed('ca', credentialsOf(good, oldRoot));
    await using web = await startSidecar({ credentials: one, view: viewOf({ service: 'web' }) });
    await web.address();
    const before = web.identity.current;
    one.notify({ ...credentialsOf(leafOf(oldRoot, 'web'), oldRoot), privateKey: good.privateKey });
    const { error } = await web.events.until('source.failed');
    expect(error.message).toMatch(/expected the key of spiffe:.*svc\/web, found that of another certificate/);
    expect(web.identity.current).toBe(before);
  });

  it('the complete chain of a secondary datacenter is sent, each certificate once', async () => {
    const intermediate = oldRoot.intermediate('secondary');
    const leaf = leafOf(intermediate, 'db');
    const twice = { ...leaf, chain: leaf.chain + intermediate.certificate };
    await using application = await tcpBackend('db');
    await using db = await startSidecar({
      credentials: credentialsOf(twice, oldRoot),
      view: viewOf({ service: 'db', application: application.address }),
    });
    const upstreams = [upstreamOf('db', [targetOf({ service: 'db', at: [await db.address()] })])];
    const credentials = credentialsOf(leafOf(intermediate, 'web'), oldRoot);
    await using web = await startSidecar({ credentials, view: viewOf({ service: 'web', upstreams }) });
    await using client = await rawClient(await web.address('upstream:db'));
    await client.send('hello');
    expect((await client.receive(5)).toString()).toBe('hello');
  });

  it('of files is followed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'meshgate-credentials-'));
    const files = { ca: join(folder, 'ca.pem'), cert: join(folder, 'web.pem'), key: join(folder, 'web-key.pem') };
    const write = async (authority: CertificateAuthority): Promise<void> => {
      const { chain, privateKey } = leafOf(authority, 'web', { commonName: `by ${authority.name}` });
      await writeFile(files.ca, authority.certificate);
      await writeFile(files.cert, chain);
      await writeFile(files.key, privateKey);
    };
    try {
      await write(oldRoot);
      await using web = await startSidecar({ credentials: fileCredentials(files), view: viewOf({ service: 'web' }) });
      await web.address();
      const before = web.identity.current;
      await write(newRoot);
      for await (const identity of web.identity.changes(AbortSignal.timeout(10_000))) if (identity !== before) break;
      await using client = await tlsClient(await web.address(), 'web', { identity: leafOf(newRoot, 'db') });
      expect(client.serverCertificateName).toBe('by new root');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
