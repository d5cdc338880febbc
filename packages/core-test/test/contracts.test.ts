import { expect, it } from 'vitest';
import { staticSource } from '@meshgate/core';
import { firstOf, lastKnownGood, observers, RouteStore } from '@meshgate/core/parts';
import type { Route, RouteSnapshot, RouteSource, Sniffer } from '@meshgate/core';
import type { SnapshotStore } from '@meshgate/core/parts';
import { sniSniffer } from '@meshgate/sni';
import {
  clientHello,
  describeObserver,
  describeResolver,
  describeRouteSource,
  describeSniffer,
  inRecords,
  recorder,
  sampleHello,
} from '@meshgate/testkit';
import type { SnifferSample, SourceUnderTest } from '@meshgate/testkit';

// Core's own parts satisfy the contracts that it has for plugins.

describeObserver('no observer at all', () => observers([]));
describeObserver('several observers as one', () =>
  observers([{ observe: () => undefined }, { observe: () => undefined }]),
);

it('an observer that throws is reported to the others, and satisfies the contract again', () => {
  const events = recorder();
  const broken = { name: 'broken', observe: () => fail('observers break') };
  observers([broken, events]).observe({ type: 'listener.closed', listener: 'default' });
  expect(events.events.map(({ type }) => type)).toEqual(['observer.threw', 'listener.closed']);
});

describeRouteSource('a source with a store, which works,', {
  create: () => Promise.resolve(remembering(inMemory())),
});
describeRouteSource('a source with a store, which fails,', {
  create: () => Promise.resolve(remembering({ load: () => failing('unreadable'), save: () => failing('disk full') })),
});

describeResolver('the route store', {
  async create() {
    const store = new RouteStore({ sources: [staticSource('static', [route('api')])], observer: observers([]) });
    await store.start(new AbortController().signal);
    return {
      resolver: store,
      known: sampleHello('api.example.com'),
      unknown: sampleHello('api.example.net'),
      dispose: () => store.stop(),
    };
  },
});

const tls: SnifferSample = {
  name: 'a hello of TLS',
  bytes: inRecords(clientHello({ serverName: 'api.example.com' })),
  expected: { kind: 'hello', hello: { protocol: 'tls', serverName: 'api.example.com' } },
};
const greeting: SnifferSample = {
  name: 'another greeting',
  bytes: Buffer.from('HI THERE'),
  expected: { kind: 'hello', hello: { protocol: 'greeting' } },
};
const http: SnifferSample = { name: 'HTTP', bytes: Buffer.from('GET / HTTP/1.1\r\n'), expected: { kind: 'pass' } };

describeSniffer('two sniffers in order', firstOf([sniSniffer(), greetingSniffer()]), [tls, greeting, http]);
describeSniffer('two sniffers in the other order', firstOf([greetingSniffer(), sniSniffer()]), [tls, greeting, http]);

/** Recognises one greeting; its progress is the number of bytes compared. */
function greetingSniffer(): Sniffer {
  const wanted = Buffer.from('HI THERE');
  return {
    name: 'greeting',
    inspect(head, compared = 0) {
      for (let at = compared as number; at < Math.min(head.length, wanted.length); at += 1) {
        if (head[at] !== wanted[at]) return { kind: 'pass' };
      }
      if (head.length < wanted.length) return { kind: 'more', progress: head.length };
      const hello = { protocol: 'greeting', alpn: [], supportedVersions: [], ech: false, earlyData: false };
      return { kind: 'hello', hello };
    },
  };
}

function remembering(snapshots: SnapshotStore): SourceUnderTest<RouteSource> {
  const inner = staticSource('static', [route('first')]);
  let changes = 0;
  return {
    source: lastKnownGood(inner, snapshots),
    change() {
      inner.set([route('first'), route(`change-${(changes += 1)}`)]);
      return Promise.resolve();
    },
    dispose: () => Promise.resolve(),
  };
}

function inMemory(): SnapshotStore {
  const kept = new Map<string, RouteSnapshot>();
  return {
    load(source) {
      const snapshot = kept.get(source);
      return Promise.resolve(snapshot && { snapshot, savedAt: new Date(0) });
    },
    save(source, snapshot) {
      kept.set(source, snapshot);
      return Promise.resolve();
    },
  };
}

function route(name: string): Route {
  const address = { host: '127.0.0.1', port: 8443 };
  return { name, serverNames: [`${name}.example.com`], backends: [{ address, weight: 1, healthy: true }] };
}

function fail(message: string): never {
  throw new Error(message);
}

function failing(message: string): Promise<never> {
  return Promise.reject(new Error(message));
}
