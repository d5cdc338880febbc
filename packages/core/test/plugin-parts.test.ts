// What a plugin may add, and the error for what is not a valid part: plugins are plain JavaScript.
import { describe, expect, it } from 'vitest';
import { PartsCollector, withoutSettings } from '../src/lifecycle/plugin-parts.ts';
import type { HostServices } from '../src/lifecycle/plugin-parts.ts';
import type { PluginHost } from '../src/lifecycle/plugin.ts';
import type { ConnectContext, Connector, Resolver } from '../src/pipeline/stages.ts';
import type { Route } from '../src/routes/route.ts';

// Provided by the gateway; irrelevant here.
const LENT = { baseDir: '/etc', process: 'single' } as HostServices;
const nothing = (): undefined => undefined;

const SOURCE = { name: 's', watch: nothing };
const SERVICE = { name: 's', start: nothing, stop: nothing };
const FILTER = { name: 'f', filter: nothing };
const TRANSPORT = { name: 't', listen: nothing, dial: nothing, splice: nothing };

/** A host as JavaScript sees it: without types. */
type AnyHost = Record<keyof PluginHost, (...given: readonly unknown[]) => void>;

function collected(plugin = 'p') {
  const collector = new PartsCollector();
  const { host, close } = collector.hostFor(plugin, LENT);
  return { collector, host: host as unknown as AnyHost, close };
}

describe('a part', () => {
  it.each<[method: keyof PluginHost, given: readonly unknown[], kind: string]>([
    ['addSource', [SOURCE], 'sources'],
    ['addListenerSource', [SOURCE], 'listenerSources'],
    ['addSniffer', [{ name: 'x', inspect: nothing }], 'sniffers'],
    ['addResolver', [{ resolve: nothing }], 'resolvers'],
    ['addObserver', [{ observe: nothing }], 'observers'],
    ['addTransport', [TRANSPORT], 'transports'],
    ['wrapConnector', [nothing], 'layers'],
    ['addService', [SERVICE], 'services'],
    ['addService', [SERVICE, { in: 'primary' }], 'services'],
    ['addService', [SERVICE, { in: 'carrier' }], 'carrierServices'],
    ['addFilter', [FILTER], 'offered'],
    ['offerFilter', ['f', () => FILTER], 'offered'],
    ['offerLayer', ['l', () => nothing], 'offered'],
    ['offerBalance', ['b', nothing], 'offered'],
    ['offerResolver', ['r', nothing], 'offered'],
    ['addAdminPath', ['/', nothing], 'adminPaths'],
  ])('%s of a plugin is among those of its kind', (method, given, kind) => {
    const { collector, host } = collected();
    host[method](...given);
    expect(Object.entries(collector.sizes).filter(([, size]) => size > 0)).toEqual([[kind, 1]]);
  });

  it.each<[method: keyof PluginHost, given: readonly unknown[], why: string]>([
    ['addSource', [null], 'addSource: expected an object with watch(), found null'],
    ['addSource', [], 'addSource: expected an object with watch(), found nothing'],
    ['addSource', [5], 'addSource: expected an object with watch(), found a number'],
    [
      'addSource',
      [{ ...SOURCE, watch: 'often' }],
      'addSource: expected an object with watch(), found one without watch()',
    ],
    ['addSource', [{ watch: nothing }], 'addSource: expected a part with a name, found none'],
    ['addSource', [{ ...SOURCE, name: '' }], 'addSource: expected a part with a name, found ""'],
    ['addSource', [{ ...SOURCE, name: Symbol('s') }], 'addSource: expected a part with a name'],
    ['addListenerSource', [nothing], 'addListenerSource: expected an object with watch(), found a function'],
    ['addSniffer', [{ name: 'x' }], 'addSniffer: expected an object with inspect(), found one without inspect()'],
    ['addResolver', [nothing], 'addResolver: expected an object with resolve(), found a function'],
    ['addObserver', [undefined], 'addObserver: expected an object with observe(), found nothing'],
    ['addService', [{ ...SERVICE, stop: undefined }], 'found one without stop()'],
    [
      'addService',
      [SERVICE, { in: 'everywhere' }],
      "addService: expected in: 'primary' or 'carrier', found \"everywhere\"",
    ],
    [
      'addTransport',
      [{ ...TRANSPORT, splice: undefined }],
      'addTransport: expected an object with listen(), dial(), splice()',
    ],
    [
      'addTransport',
      [{ ...TRANSPORT, name: 'epoll' }],
      'expected a name that no built-in transport has, found "epoll"',
    ],
    ['addFilter', [{ name: 'f' }], 'addFilter: expected an object with filter(), found one without filter()'],
    ['addFilter', [{ ...FILTER, name: 'postgres' }], 'expected a name that no built-in filter has, found "postgres"'],
    ['wrapConnector', [{}], 'wrapConnector: expected a function'],
    ['offerFilter', ['f', FILTER], 'offerFilter: expected a function'],
    ['offerLayer', ['', nothing], 'offerLayer: expected a part with a name, found ""'],
    ['offerBalance', [7, nothing], 'offerBalance: expected a part with a name, found 7'],
    ['offerResolver', ['r', null], 'offerResolver: expected a function, found null'],
    ['addAdminPath', ['status', nothing], 'addAdminPath: expected a path that begins with /, found "status"'],
    ['addAdminPath', ['/a b', nothing], 'addAdminPath: expected a path that begins with /'],
    ['addAdminPath', [undefined, nothing], 'addAdminPath: expected a path that begins with /'],
    ['addAdminPath', ['/x', 'a page'], 'addAdminPath: expected a function, found a string'],
  ])('%s is refused for %j', (method, given, why) => {
    const { collector, host } = collected();
    expect(() => host[method](...given)).toThrow(TypeError);
    expect(() => host[method](...given)).toThrow(why);
    expect(Object.values(collector.sizes).every((size) => size === 0)).toBe(true);
  });

  it.each<[first: keyof PluginHost, second: keyof PluginHost, why: string]>([
    ['offerFilter', 'offerFilter', 'offerFilter: expected a name that no other filter has, found "same"'],
    ['offerLayer', 'offerResolver', 'offerResolver: expected a name that no other layer has, found "same"'],
    ['offerBalance', 'offerLayer', 'offerLayer: expected a name that no other balance has, found "same"'],
  ])('%s and %s cannot have one name', (first, second, why) => {
    const { host } = collected();
    host[first]('same', nothing);
    expect(() => host[second]('same', nothing)).toThrow(why);
  });

  it('of another plugin keeps its name, its transport and its admin path to itself', () => {
    const { collector, host } = collected('one');
    const other = collector.hostFor('other/part', LENT).host as unknown as AnyHost;
    host.addTransport(TRANSPORT);
    expect(() => other.addTransport(TRANSPORT)).toThrow('expected a name that no other transport has, found "t"');
    for (const each of [host, other]) {
      each.addAdminPath('/', nothing);
      each.addAdminPath('/status', nothing);
    }
    expect(() => host.addAdminPath('/status', nothing)).toThrow('found /plugins/one/status again');
    expect([...collector.parts.adminPaths.keys()]).toEqual([
      '/plugins/one',
      '/plugins/one/status',
      '/plugins/other%2Fpart',
      '/plugins/other%2Fpart/status',
    ]);
  });

  it.each<[method: keyof PluginHost, given: readonly unknown[]]>([
    ['addSource', [SOURCE]],
    ['addService', [SERVICE]],
    ['addService', [SERVICE, { in: 'carrier' }]],
    ['addFilter', [FILTER]],
    ['offerBalance', ['b', nothing]],
    ['wrapConnector', [nothing]],
    ['addAdminPath', ['/', nothing]],
  ])('%s comes too late once the plugin is installed', (method, given) => {
    const { collector, host, close } = collected();
    close();
    expect(() => host[method](...given)).toThrow('expected parts while the plugin is installed, found one afterwards');
    expect(Object.values(collector.sizes).every((size) => size === 0)).toBe(true);
  });

  it.each<[method: 'offerFilter' | 'offerLayer' | 'offerResolver', made: unknown, why: string]>([
    ['offerFilter', {}, '"x": expected an object with filter(), found one without filter()'],
    ['offerLayer', { connect: nothing }, '"x": expected a function'],
    ['offerResolver', null, '"x": expected an object with resolve(), found null'],
  ])('of %s is looked at when it is made', (method, made, why) => {
    const { collector, host } = collected();
    host[method]('x', () => made);
    const part = collector.parts.offered.get('x');
    expect(() => part?.kind !== 'balance' && part?.make({})).toThrow(why);
  });
});

describe('parts of several plugins', () => {
  it('that were added since can be told apart, and go on in another collector as they are', () => {
    const { collector, host } = collected();
    host.addSource(SOURCE);
    host.offerBalance('first', nothing);
    const before = collector.sizes;
    host.addSource({ ...SOURCE, name: 'later' });
    host.offerBalance('later', nothing);
    host.addAdminPath('/', nothing);
    const since = collector.since(before);
    expect(since.sources.map(({ name }) => name)).toEqual(['later']);
    expect([[...since.offered.keys()], [...since.adminPaths.keys()]]).toEqual([['later'], ['/plugins/p']]);
    const next = new PartsCollector();
    next.include(since);
    expect(next.parts.sources).toEqual(since.sources);
    expect(next.parts.sources[0]).toBe(since.sources[0]);
    expect(next.sizes).toEqual({ ...collector.sizes, sources: 1, offered: 1 });
  });

  it('share nothing that one of them could change', () => {
    const { host } = collected();
    expect(() => Object.assign(host, { addSource: nothing })).toThrow(TypeError);
  });
});

describe('a filter without settings', () => {
  it('is itself wherever it is named', () => {
    const make = withoutSettings(FILTER as never);
    expect([make(undefined), make({}), make(null)]).toEqual([FILTER, FILTER, FILTER]);
  });

  it('refuses settings, and says which', () => {
    expect(() => withoutSettings(FILTER as never)({ depth: 3 })).toThrow('depth: the filter "f" has no settings');
  });
});

describe('a part of a plugin in a gateway', () => {
  const from = {
    id: '1',
    listener: 'l',
    remote: { host: '127.0.0.1', port: 1 },
    local: { host: '127.0.0.1', port: 2 },
    at: 0,
  };
  const broken = (): never => {
    throw new Error('broke');
  };

  it.each<[what: string, resolve: () => unknown, why: string]>([
    ['that throws', broken, 'broke'],
    ['that gives null', () => null, 'expected a route or undefined, found null'],
    [
      'whose access is a string',
      () => ({ name: 'r', serverNames: [], backends: [], access: 'no' }),
      'access: expected access',
    ],
  ])('names the plugin of a resolver %s', (_what, resolve, why) => {
    const collector = new PartsCollector(true);
    const { host } = collector.hostFor('rules', LENT);
    host.addResolver({ resolve } as Resolver);
    host.offerResolver('offered', () => ({ resolve }) as Resolver);
    const offered = collector.parts.offered.get('offered');
    const made = offered?.kind === 'resolver' ? [offered.make({})] : [];
    for (const resolver of [...collector.parts.resolvers, ...made])
      expect(() => resolver.resolve({ protocol: 'tls' }, from)).toThrow(`resolver of the plugin "rules": ${why}`);
    expect(made).toHaveLength(1);
  });

  it('names the plugin of a layer that throws, or gives no connector', async () => {
    const collector = new PartsCollector(true);
    const { host } = collector.hostFor('rules', LENT);
    host.wrapConnector(() => ({ connect: broken }));
    host.wrapConnector(broken);
    host.wrapConnector((() => undefined) as never);
    const [throws, atOnce, none] = collector.parts.layers;
    const inner: Connector = { connect: broken };
    await expect(throws?.(inner).connect({} as Route, {} as ConnectContext)).rejects.toThrow(
      'connector layer of the plugin "rules": broke',
    );
    expect(() => atOnce?.(inner)).toThrow('connector layer of the plugin "rules": broke');
    expect(() => none?.(inner)).toThrow(
      'connector layer of the plugin "rules": expected an object with connect(), found nothing',
    );
  });

  it('may be a promise by mistake, which its error says', () => {
    const { host } = collected();
    expect(() => host['addSource'](Promise.resolve(SOURCE))).toThrow(
      'expected an object with watch(), found a promise',
    );
    expect(() => host['addService'](SERVICE, null)).toThrow("addService: expected in: 'primary' or 'carrier'");
  });
});
