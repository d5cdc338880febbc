import { describe, expect, it } from 'vitest';
import { mutualTlsOf, NO_ENTRIES } from '../src/index.ts';
import type { ConfigEntries, MutualTlsMode } from '../src/index.ts';

/** Config entries: of the service, of all proxies, and whether the mesh allows permissive mode. */
type Logged = readonly [
  own: MutualTlsMode | undefined,
  central: MutualTlsMode | undefined,
  allows: boolean | undefined,
];

function entriesOf([own, central, allows]: Logged): ConfigEntries {
  const mode = (mutualTls: MutualTlsMode | undefined) => (mutualTls === undefined ? {} : { mutualTls });
  return {
    ...NO_ENTRIES,
    proxyDefaults: { config: {}, ...mode(central) },
    serviceDefaults: new Map([['web', { upstreamOverrides: [], ...mode(own) }]]),
    ...(allows === undefined ? {} : { mesh: { peersThroughGateways: false, allowsPermissiveTls: allows } }),
  };
}

describe('callers without TLS are accepted', () => {
  it.each<Logged>([
    ['permissive', undefined, true],
    [undefined, 'permissive', true],
    ['permissive', 'strict', true],
  ])('if service %s, proxies %s and mesh %s are set, with a warning', (...logged) => {
    const { mode, warning } = mutualTlsOf('web', entriesOf(logged));
    expect(mode).toBe('permissive');
    expect(warning).toContain('without TLS to the public listener reach the application');
  });

  it.each<Logged>([
    [undefined, undefined, true],
    ['strict', 'permissive', true],
    ['strict', undefined, true],
  ])('nowhere else, without a warning: service %s, proxies %s, mesh %s', (...logged) => {
    expect(mutualTlsOf('web', entriesOf(logged))).toEqual({ mode: 'strict' });
  });

  it.each<Logged>([
    ['permissive', undefined, false],
    [undefined, 'permissive', undefined],
  ])('not if the mesh does not allow it, and this is reported: service %s, proxies %s, mesh %s', (...logged) => {
    const { mode, warning } = mutualTlsOf('web', entriesOf(logged));
    expect(mode).toBe('strict');
    expect(warning).toContain('has no effect: the entry mesh does not set AllowEnablingPermissiveMutualTLS = true');
  });

  it('of another service changes nothing', () => {
    expect(mutualTlsOf('db', entriesOf(['permissive', undefined, true]))).toEqual({ mode: 'strict' });
  });
});
