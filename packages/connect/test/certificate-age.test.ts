import { certificateAuthority, recorder } from '@meshgate/testkit';
import type { Validity } from '@meshgate/testkit';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { identityOf, IdentityStore, certificateState } from '../src/index.ts';
import { credentialsOf, leafOf, uriOf } from './mesh.ts';
import { Observed } from './sidecar.ts';

const root = certificateAuthority('root');
const DAY = { notBefore: new Date('2030-01-01T00:00:00Z'), notAfter: new Date('2030-01-02T00:00:00Z') };

/** A certificate valid for 100 minutes that expires in this many seconds. */
function leaving(seconds: number): Validity {
  const now = new Date().getTime();
  return { notBefore: new Date(now - 6_000_000 + seconds * 1_000), notAfter: new Date(now + seconds * 1_000) };
}

describe('a certificate', () => {
  it.each([
    ['2030-01-01T12:00:00Z', 'good'],
    ['2030-01-01T21:35:59Z', 'good'],
    ['2030-01-01T21:36:00Z', 'overdue'],
    ['2030-01-01T23:59:59Z', 'overdue'],
    ['2030-01-02T00:00:00Z', 'expired'],
  ] as const)('of the first of January is, at %s, %s: the last tenth of its lifetime is overdue', (now, state) => {
    expect(certificateState(identityOf(credentialsOf(leafOf(root, 'web', DAY), root)), new Date(now))).toBe(state);
  });

  it('expires with the first certificate on its path to the root', () => {
    const intermediate = root.intermediate('secondary', { ...DAY, notAfter: new Date('2030-01-01T12:00:00Z') });
    const { validUntil } = identityOf(credentialsOf(leafOf(intermediate, 'web', DAY), root));
    expect(validUntil).toEqual(new Date('2030-01-01T12:00:00Z'));
  });

  it('does not expire with one that only peers without the current root need', () => {
    const leaf = leafOf(root, 'web', DAY);
    const cross = certificateAuthority('older root').intermediate('cross', {
      notAfter: new Date('2030-01-01T12:00:00Z'),
    });
    const { validUntil } = identityOf(credentialsOf({ ...leaf, chain: leaf.chain + cross.certificate }, root));
    expect(validUntil).toEqual(DAY.notAfter);
  });
});

describe('an identity store', () => {
  it('reports each certificate that it installs, and nothing else while that is valid', async () => {
    const observer = recorder();
    const credentials = new Observed('ca', credentialsOf(leafOf(root, 'web'), root));
    const store = new IdentityStore({ source: credentials, observer });
    await store.start();
    const { certificate, source } = await observer.until('certificate.installed');
    expect({ source, identity: certificate.identity }).toEqual({ source: 'ca', identity: uriOf('web') });
    credentials.notify(credentialsOf(leafOf(root, 'web'), root));
    await observer.untilCount('certificate.installed', 2);
    expect(store.status).toMatchObject({ source: 'ca', certificate: { identity: uriOf('web'), state: 'good' } });
    await store.stop();
    expect(observer.all('certificate.aged')).toEqual([]);
  });

  it('reports its age by the current clock, even if that was set forward or back, or passes the expiry again', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const observer = recorder();
    const credentials = credentialsOf(leafOf(root, 'web', leaving(3_000)), root);
    const store = new IdentityStore({ source: new Observed('ca', credentials), observer });
    await store.start();
    await observer.until('certificate.installed');
    const now = new Date().getTime();
    const states: unknown[] = [];
    for (const jumpMs of [3_600_000, 0, 3_600_000, -3_600_000]) {
      vi.setSystemTime(now + jumpMs);
      vi.advanceTimersByTime(60_000);
      states.push(store.status.certificate?.state);
    }
    expect(states).toEqual(['expired', 'good', 'expired', 'good']);
    expect(observer.all('certificate.aged').map(({ state }) => state)).toEqual(['expired', 'expired']);
    await store.stop();
  });

  it('reports when the last root of its own cluster and of each trusted peer expires', async () => {
    const observer = recorder();
    const peer = 'spiffe://beta.consul';
    const ends = ['2040-01-01T00:00:00Z', '2039-01-01T00:00:00Z'].map((end) => new Date(end));
    const beta = ends.map((notAfter) => certificateAuthority('beta', { uris: [peer], notAfter }).certificate);
    const own = certificateAuthority('own', { notAfter: new Date('2041-01-01T00:00:00Z') });
    const credentials = {
      ...credentialsOf(leafOf(own, 'web'), own),
      peers: [
        { peer: 'beta', roots: beta },
        { peer: 'refused', roots: [own.certificate] },
      ],
    };
    const store = new IdentityStore({ source: new Observed('ca', credentials), observer });
    await store.start();
    expect((await observer.until('certificate.installed')).authorities).toEqual([
      { name: 'mesh', validUntil: new Date('2041-01-01T00:00:00Z') },
      { name: 'peer beta', validUntil: ends[0] },
    ]);
    await store.stop();
  });

  it('installs a certificate once, however often its source repeats it', async () => {
    const observer = recorder();
    const first = credentialsOf(leafOf(root, 'web'), root);
    const credentials = new Observed('ca', first);
    const store = new IdentityStore({ source: credentials, observer });
    await store.start();
    await observer.until('certificate.installed');
    credentials.notify({ ...first });
    await observer.untilCount('source.updated', 2);
    credentials.notify(credentialsOf(leafOf(root, 'web'), root));
    await observer.untilCount('certificate.installed', 2);
    expect(observer.all('source.updated')).toHaveLength(3);
    await store.stop();
  });

  it('reports when the certificate should have been renewed and when it has expired, each once, and its successor', async () => {
    const observer = recorder();
    const credentials = new Observed('ca', credentialsOf(leafOf(root, 'web', leaving(60)), root));
    const store = new IdentityStore({ source: credentials, observer });
    await store.start();
    await observer.until('certificate.aged', ({ state }) => state === 'overdue');
    expect(store.status.certificate?.state).toBe('overdue');
    credentials.notify(credentialsOf(leafOf(root, 'web', leaving(2)), root));
    await observer.until('certificate.aged', ({ state }) => state === 'expired');
    expect(store.status.certificate?.state).toBe('expired');
    credentials.notify(credentialsOf(leafOf(root, 'web'), root));
    await observer.untilCount('certificate.installed', 3);
    expect(store.status.certificate?.state).toBe('good');
    expect(observer.all('certificate.aged').filter(({ state }) => state === 'expired')).toHaveLength(1);
    await store.stop();
  });
});
