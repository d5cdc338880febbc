import { describe, expect, it } from 'vitest';
import { authorize, describePermission, type Intention, type SpiffeId } from '../src/index.ts';

const WEB: Extract<SpiffeId, { kind: 'service' }> = {
  kind: 'service',
  trustDomain: 'td.consul',
  partition: 'default',
  namespace: 'default',
  datacenter: 'dc1',
  service: 'web',
};

const allow = (source: string, destination: string): Intention => ({ source, destination, action: 'allow' });
const deny = (source: string, destination: string): Intention => ({ source, destination, action: 'deny' });

describe('the most specific matching intention decides', () => {
  it.each<[string, readonly Intention[], boolean]>([
    ['both names', [deny('web', 'db')], false],
    ['any source', [deny('*', 'db')], false],
    ['any destination', [deny('web', '*')], false],
    ['anything', [deny('*', '*')], false],
    ['nothing of another source', [deny('shop', 'db')], true],
    ['nothing of another destination', [deny('web', 'sql')], true],
    ['both names before any source', [deny('*', 'db'), allow('web', 'db')], true],
    ['any source before any destination', [allow('web', '*'), deny('*', 'db')], false],
    ['any destination before anything', [deny('*', '*'), allow('web', '*')], true],
    ['of a peer: never for this cluster', [{ ...deny('web', 'db'), sourcePeer: 'cloud' }], true],
    ['of another namespace', [{ ...deny('web', 'db'), sourceNamespace: 'team' }], true],
    ['of any namespace', [{ ...deny('*', 'db'), sourceNamespace: '*' }], false],
    ['for HTTP requests: a TCP proxy cannot check them', [{ ...allow('web', 'db'), action: 'http' }], false],
  ])('%s', (_claim, intentions, allowed) => {
    expect(authorize({ source: WEB, destination: 'db' }, intentions, 'allow').allowed).toBe(allowed);
  });

  it('and one for HTTP requests lists which of its permissions cannot be checked', () => {
    const permissions = [
      describePermission({ action: 'allow', methods: ['GET', 'PUT'], path: '/admin', headers: ['x-user'] }),
      describePermission({ action: 'deny', methods: [], path: '', headers: [] }),
    ];
    const intentions: readonly Intention[] = [{ ...allow('web', 'db'), action: 'http', permissions }];
    expect(authorize({ source: WEB, destination: 'db' }, intentions, 'allow')).toEqual({
      allowed: false,
      reason:
        'intention web => db: deny, since its permissions are for HTTP requests (layer 7), which cannot be checked in a TCP connection (layer 4): permission 1, allow GET, PUT /admin with header x-user; permission 2, deny',
    });
  });

  it('in any order', () => {
    const intentions = [deny('*', '*'), deny('*', 'db'), allow('web', 'db'), deny('web', '*')];
    for (const list of [intentions, intentions.toReversed()])
      expect(authorize({ source: WEB, destination: 'db' }, list, 'deny')).toEqual({
        allowed: true,
        reason: 'intention web => db: allow',
      });
  });

  it('and without any the default', () => {
    expect(authorize({ source: WEB, destination: 'db' }, [], 'allow').allowed).toBe(true);
    expect(authorize({ source: WEB, destination: 'db' }, [], 'deny')).toEqual({
      allowed: false,
      reason: 'no intention matches: deny by default',
    });
  });
});

describe('a caller of a peer', () => {
  const ofCloud = (intention: Intention): Intention => ({ ...intention, sourcePeer: 'cloud' });

  it.each<[string, readonly Intention[], boolean, string]>([
    ['is not let in by what allows the local service of its name', [allow('web', 'db')], false, 'no intention'],
    ['is not let in by what allows every local service', [allow('*', 'db')], false, 'no intention'],
    ['is not let in by what allows everything here', [allow('*', '*')], false, 'no intention'],
    ['is let in by name', [ofCloud(allow('web', 'db'))], true, 'web of peer cloud => db: allow'],
    ['is let in with all of its peer', [ofCloud(allow('*', 'db'))], true, '* of peer cloud => db: allow'],
    ['is not let in with all of another peer', [{ ...allow('*', 'db'), sourcePeer: 'other' }], false, 'no intention'],
    [
      'is refused by name where all of its peer are let in',
      [ofCloud(allow('*', 'db')), ofCloud(deny('web', 'db'))],
      false,
      'deny',
    ],
    [
      'is not refused by what denies the local service of its name',
      [ofCloud(allow('*', 'db')), deny('web', 'db')],
      true,
      'allow',
    ],
  ])('%s', (_claim, intentions, allowed, reason) => {
    const judged = authorize({ source: WEB, sourcePeer: 'cloud', destination: 'db' }, intentions, 'deny');
    expect(judged).toEqual({ allowed, reason: expect.stringContaining(reason) as string });
  });

  it('is checked by the default if no intention names its peer', () => {
    expect(authorize({ source: WEB, sourcePeer: 'cloud', destination: 'db' }, [deny('*', '*')], 'allow').allowed).toBe(
      true,
    );
  });
});
