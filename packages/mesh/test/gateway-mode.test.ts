import { describe, expect, it } from 'vitest';
import { decideMode, explainMode, type GatewayMode, MODE_SCOPES, modeOf, parseGatewayMode } from '../src/index.ts';
import type { ConfigEntries, ModeScope, ModeSetting, WrittenMode } from '../src/index.ts';
import { NO_ENTRIES, upstreamMode } from '../src/index.ts';

/** The document that introduced modes lists these, most specific first. */
const FOUR: readonly ModeScope[] = ['upstream', 'service-instance', 'service-defaults', 'proxy-defaults'];
/** Consul since 1.10. */
const SIX: readonly ModeScope[] = [
  'upstream',
  'upstream-override',
  'service-instance',
  'upstream-defaults',
  'service-defaults',
  'proxy-defaults',
];
const MODES: readonly GatewayMode[] = ['none', 'local', 'remote'];

describe('the first of the places that set a mode decides', () => {
  it.each(combinations(FOUR))('of the four: $name', ({ set, first }) => expectDecidedBy(set, first));
  it.each(combinations(SIX))('of the six: $name', ({ set, first }) => expectDecidedBy(set, first));
  it.each(combinations(SIX))('of the six, with their real sources: $name', ({ set, first }) => {
    for (const mode of MODES) {
      const decision = decisionFromEntries(set, first, mode);
      expect(decision.kind === 'decided' ? decision.by.scope : undefined).toBe(first);
      expect(modeOf(decision)).toBe(first === undefined ? undefined : mode);
    }
  });

  it('has 16 combinations of the four and 64 of the six', () => {
    expect([combinations(FOUR).length, combinations(SIX).length]).toEqual([16, 64]);
  });

  it('uses the discovery chain last, when the dialling side sets none', () => {
    expect(MODE_SCOPES).toEqual([...SIX, 'discovery-chain']);
    expect(modeOf(decideMode([setting('discovery-chain', 'remote')]))).toBe('remote');
    expect(modeOf(decideMode([setting('discovery-chain', 'remote'), setting('proxy-defaults', 'local')]))).toBe(
      'local',
    );
  });

  it('treats an empty mode as not set, at every place', () => {
    for (const scope of MODE_SCOPES) expect(decideMode([setting(scope, '')])).toEqual({ kind: 'unset' });
    expect(modeOf(decideMode([setting('upstream', ''), setting('proxy-defaults', 'local')]))).toBe('local');
  });

  it('treats none as a decision, which no lower place changes', () => {
    expect(modeOf(decideMode([setting('proxy-defaults', 'local'), setting('upstream', 'none')]))).toBe('none');
  });
});

describe('an upstream override', () => {
  const entries = (overrides: readonly { name: string; namespace?: string }[]): ConfigEntries => ({
    ...NO_ENTRIES,
    serviceDefaults: new Map([
      ['web', { upstreamOverrides: overrides.map((override) => ({ ...override, mode: written('local') })) }],
    ]),
  });

  it.each([
    ['the upstream that it names', { name: 'api' }, { name: 'api' }, 'local'],
    ['no other upstream', { name: 'db' }, { name: 'api' }, undefined],
    ['the default namespace by either spelling', { name: 'api', namespace: 'default' }, { name: 'api' }, 'local'],
    ['no other namespace', { name: 'api' }, { name: 'api', namespace: 'team' }, undefined],
  ] as const)('applies to %s', (_claim, override, upstream, mode) => {
    expect(modeOf(upstreamMode(upstream, { service: 'web' }, entries([override])))).toBe(mode);
    expect(modeOf(upstreamMode(upstream, { service: 'shop' }, entries([override])))).toBeUndefined();
  });
});

describe('a mode', () => {
  it.each(MODES)('%s is parsed', (mode) => expect(parseGatewayMode(mode)).toEqual({ kind: 'mode', mode }));
  it('that is empty is not set', () => expect(parseGatewayMode('')).toEqual({ kind: 'unset' }));

  it.each([
    ['Local', 'expected none, local or remote, found "Local": write local, in lower case'],
    ['REMOTE', 'expected none, local or remote, found "REMOTE": write remote, in lower case'],
    [' none', 'expected none, local or remote, found " none": write none, in lower case'],
    ['nearby', 'expected none, local or remote, found "nearby"'],
    ['default', 'expected none, local or remote, found "default"'],
  ])('%j is rejected', (text, message) => expect(parseGatewayMode(text)).toEqual({ kind: 'unknown', message }));

  it('that is invalid at the deciding place is an error that names its object', () => {
    const decision = decideMode([setting('service-defaults', 'Local'), setting('proxy-defaults', 'remote')]);
    expect(decision).toMatchObject({ kind: 'refused', by: { scope: 'service-defaults' } });
    expect(explainMode(decision)).toBe(
      'service-defaults/x: expected none, local or remote, found "Local": write local, in lower case',
    );
    expect(modeOf(decision)).toBeUndefined();
  });
});

describe('the explanation of a mode', () => {
  it('shows which place decided, and the values of the others', () => {
    const settings = [
      setting('proxy-defaults', 'local'),
      setting('upstream', 'remote'),
      setting('service-defaults', 'none'),
    ];
    expect(explainMode(decideMode(settings))).toBe(
      'remote by the upstream definition (upstream/x); else none by the service defaults (service-defaults/x); else local by the proxy defaults (proxy-defaults/x)',
    );
  });

  it('shows that no place decided', () => expect(explainMode(decideMode([]))).toBe('no mode is set: direct'));
});

interface Combination {
  readonly name: string;
  readonly set: readonly ModeScope[];
  readonly first: ModeScope | undefined;
}

/** Every combination of scopes; `first` is the one with the highest precedence. */
function combinations(scopes: readonly ModeScope[]): readonly Combination[] {
  return Array.from({ length: 2 ** scopes.length }, (_, bits) => {
    const set = scopes.filter((_scope, index) => (bits & (1 << index)) !== 0);
    return { name: set.join(' + ') || 'nothing', set, first: set[0] };
  });
}

function expectDecidedBy(set: readonly ModeScope[], first: ModeScope | undefined): void {
  for (const mode of MODES) {
    const other = mode === 'local' ? 'remote' : 'local';
    // In reverse, so that precedence does not depend on the order of the input.
    const settings = set.map((scope) => setting(scope, scope === first ? mode : other)).toReversed();
    const decision = decideMode(settings);
    expect(modeOf(decision)).toBe(first === undefined ? undefined : mode);
    expect(decision.kind === 'decided' ? [decision.by, ...decision.others].map(({ scope }) => scope) : []).toEqual(set);
  }
}

function decisionFromEntries(set: readonly ModeScope[], first: ModeScope | undefined, mode: GatewayMode) {
  const other = mode === 'local' ? 'remote' : 'local';
  const at = (scope: ModeScope) => (set.includes(scope) ? { mode: written(scope === first ? mode : other) } : {});
  const entries: ConfigEntries = {
    ...NO_ENTRIES,
    proxyDefaults: { config: {}, ...at('proxy-defaults') },
    serviceDefaults: new Map([
      [
        'web',
        {
          ...at('service-defaults'),
          upstreamDefaults: at('upstream-defaults'),
          upstreamOverrides: [{ name: 'api', ...at('upstream-override') }],
        },
      ],
    ]),
  };
  return upstreamMode({ name: 'api', ...at('upstream') }, { service: 'web', ...at('service-instance') }, entries);
}

function setting(scope: ModeScope, value: string): ModeSetting {
  return { scope, value, object: `${scope}/x` };
}

function written(value: string): WrittenMode {
  return { value, object: 'here' };
}
