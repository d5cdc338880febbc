import { formatProblem } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { parseRouteFile } from '../src/index.ts';
import { mergeRouteFiles, parseRouteFilePart } from '../src/routes/route-file.ts';

describe('a route file', () => {
  it('becomes routes, with names in lower case and every setting in its unit', () => {
    const text = `routes:
  - name: api
    serverNames: [ API.Example.com., "*.Apps.example.com", "*" ]
    backends:
      - { address: 10.0.0.1, port: 8443, weight: 2 }
      - { address: "2001:db8::1", port: 443 }
      - { address: Db.internal., port: 5432 }
      - { address: "unix:/run/App.sock" }
    balance: least_connections
    connectTimeout: 1500ms
`;
    const { routes, problems } = parseRouteFile(text, '/etc/routes.yaml');
    expect(problems).toEqual([]);
    expect(routes).toEqual([
      {
        name: 'api',
        kind: 'static',
        serverNames: ['api.example.com', '*.apps.example.com', '*'],
        backends: [
          { address: { host: '10.0.0.1', port: 8443 }, weight: 2, healthy: true },
          { address: { host: '2001:db8::1', port: 443 }, weight: 1, healthy: true },
          { address: { host: 'db.internal.', port: 5432 }, weight: 1, healthy: true },
          { address: { host: 'unix:/run/App.sock', port: 0 }, weight: 1, healthy: true },
        ],
        balance: 'least_connections',
        connectTimeoutMs: 1500,
        origin: { file: '/etc/routes.yaml', line: '2' },
      },
    ]);
  });

  it.each(['yaml', 'json'])('in %s may use names that every JavaScript object has, and rejects such keys', (ending) => {
    const names = ['__proto__', 'constructor', 'toString'];
    const route = (name: string) =>
      `{ "name": "${name}", "serverNames": [ "${name}" ], "backends": [ { "address": "a", "port": 1, "labels": { "${name}": "x" } } ] }`;
    const { routes, problems } = parseRouteFile(`{ "routes": [ ${names.map(route).join(',')} ] }`, `r.${ending}`);
    expect(problems).toEqual([]);
    expect(routes.map(({ name, serverNames }) => [name, ...serverNames])).toEqual(
      names.map((name) => [name, name.toLowerCase()]),
    );
    for (const [index, name] of names.entries())
      expect(Object.entries(routes[index]?.backends[0]?.labels ?? {})).toEqual([[name, 'x']]);
    for (const name of names)
      expect(parseRouteFile(`{ "routes": [], "${name}": { "polluted": true } }`, `r.${ending}`).problems).toHaveLength(
        1,
      );
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
  });

  it('may use the balance of a plugin, and label its backends', () => {
    const backends = '[ { address: b, port: 1, labels: { zone: a, rack: "7" } } ]';
    const balance = '{ name: tenant, label: shard }';
    const text = `routes: [ { serverNames: [ a.example ], backends: ${backends}, balance: ${balance} } ]`;
    const { routes, problems } = parseRouteFile(text, 'r.yaml');
    expect(problems).toEqual([]);
    expect(routes[0]).toMatchObject({
      balance: { name: 'tenant', settings: { label: 'shard' }, at: { file: 'r.yaml', line: 1 } },
      backends: [{ labels: { zone: 'a', rack: '7' } }],
    });
  });

  it('checks the backends of a route, with its own settings or the defaults', () => {
    const checked = (healthCheck: string) => {
      const text = `routes: [ { serverNames: [ a.example ], backends: [], healthCheck: ${healthCheck} } ]`;
      const { routes, problems } = parseRouteFile(text, 'r.yaml');
      return problems.length > 0 ? problemLines(text, 'r.yaml') : routes[0]?.healthCheck;
    };
    expect(checked('{}')).toEqual({ kind: 'tcp', intervalMs: 5_000, timeoutMs: 2_000, rise: 2, fall: 3 });
    const all =
      '{ kind: tls, serverName: A.example., interval: 1s, timeout: 500ms, rise: 1, fall: 5, slowStart: 1m, whenAllDown: refuse }';
    expect(checked(all)).toEqual({
      kind: 'tls',
      serverName: 'a.example',
      intervalMs: 1_000,
      timeoutMs: 500,
      rise: 1,
      fall: 5,
      slowStartMs: 60_000,
      whenAllDown: 'refuse',
    });
    expect(checked('{ kind: http }')).toEqual(['1:76: expected one of tcp, tls, found "http"']);
    expect(checked('{ serverName: a.example }')).toEqual(['1:82: only checks of kind: tls send a server name']);
    expect(checked('{ rise: 0, fall: 1.5, interval: 5 }')).toHaveLength(3);
  });

  it('may forward to the server name itself, for its own names', () => {
    const read = (rest: string) => {
      const text = `routes: [ { ${rest} } ]`;
      const { routes, problems } = parseRouteFile(text, 'r.yaml');
      return problems.length > 0 ? problemLines(text, 'r.yaml') : routes[0];
    };
    expect(read('serverNames: [ "*.example.com" ], egress: {}')).toMatchObject({ backends: [], egress: { port: 443 } });
    const allowAddresses = ['10.0.0.0/8', 'fd00::1'];
    expect(
      read('serverNames: [ a.example ], egress: { port: 8443, allowAddresses: [ 10.0.0.0/8, "fd00::1" ] }'),
    ).toMatchObject({
      egress: { port: 8443, allowAddresses },
    });
    expect(read('serverNames: [ a.example, "*" ], egress: {}')).toEqual([
      '1:39: egress needs exact names or suffixes: "*" would be an open proxy',
    ]);
    expect(read('serverNames: [ a.example ], backends: [], egress: {}')).toEqual([
      '1:51: a route with egress forwards to the server name itself and has no backends',
    ]);
    expect(read('serverNames: [ a.example ], egress: {}, healthCheck: {}, balance: random')).toEqual([
      '1:66: a route with egress has no backends to choose from',
      '1:79: a route with egress has no backends to choose from',
    ]);
    expect(read('name: x, fallback: true, serverNames: [], egress: {}')).toEqual([
      '1:32: egress needs a server name: a fallback has none',
    ]);
    expect(read('serverNames: [ a.example ], egress: { allowAddresses: [ 10.0.0.0/33 ] }')).toHaveLength(1);
  });

  it('may retry before the first byte', () => {
    const text = 'routes: [{ serverNames: [a], backends: [], retryBeforeFirstByte: VALUE }]';
    const read = (value: string) => parseRouteFile(text.replace('VALUE', value), 'r.yaml').routes;
    expect(read('true')).toMatchObject([{ retryBeforeFirstByte: true }]);
    expect(read('false')[0]).not.toHaveProperty('retryBeforeFirstByte');
  });

  it('can set what happens to connections of a removed backend', () => {
    const read = (value: string) => {
      const text = `routes: [{ serverNames: [a], backends: [], onBackendRemoved: ${value}, onBackendDown: ${value} }]`;
      const [route] = parseRouteFile(text, 'r.yaml').routes;
      expect(route?.onBackendDown).toEqual(route?.onBackendRemoved);
      return route?.onBackendRemoved;
    };
    expect(['keep', 'drain', 'close', '{ grace: 5m }', '{ grace: 0s, spread: 1s }'].map(read)).toEqual([
      undefined,
      { graceMs: 30_000, spreadMs: 5_000 },
      { graceMs: 0, spreadMs: 5_000 },
      { graceMs: 300_000, spreadMs: 5_000 },
      { graceMs: 0, spreadMs: 1_000 },
    ]);
  });

  it('may send only some backends the client address', () => {
    const read = (ofRoute: string, ofBackend: string) => {
      const backends = `[{ address: b, port: 1${ofBackend} }]`;
      const [route] = parseRouteFile(
        `routes: [{ serverNames: [a], backends: ${backends}${ofRoute} }]`,
        'r.yaml',
      ).routes;
      return [route?.proxyProtocol, route?.backends[0]?.proxyProtocol];
    };
    expect(read('', '')).toEqual([undefined, undefined]);
    expect(read(', proxyProtocol: v2', ', proxyProtocol: v1')).toEqual(['v2', 'v1']);
    expect(read('', ', proxyProtocol: v1')).toEqual(['off', 'v1']);
  });

  it('may configure when a backup takes over', () => {
    const text =
      'routes: [ { serverNames: [ a.example ], backends: [], failover: { minHealthy: 2, returnAfter: 30s } } ]';
    expect(parseRouteFile(text, 'r.yaml').routes[0]?.failover).toEqual({ minHealthy: 2, returnAfterMs: 30_000 });
    expect(parseRouteFile(text.replace('minHealthy: 2, returnAfter: 30s', ''), 'r.yaml').routes[0]?.failover).toEqual({
      minHealthy: 1,
    });
  });

  it('gives a route without a name its first server name', () => {
    const text = 'routes: [ { serverNames: [ B.example, a.example ], backends: [] } ]';
    expect(parseRouteFile(text, 'r.yaml').routes.map(({ name }) => name)).toEqual(['b.example']);
  });

  it('may be JSON, with the schema named for the editor', () => {
    const route = { name: 'a', serverNames: ['a.example'], backends: [{ address: 'b', port: 1 }] };
    const { routes, problems } = parseRouteFile(JSON.stringify({ $schema: 'x', routes: [route] }, null, 1), 'r.json');
    expect(problems).toEqual([]);
    expect(routes).toMatchObject([{ name: 'a', origin: { line: '4' } }]);
  });

  it('may repeat itself with anchors', () => {
    const text = `routes:
  - { serverNames: [ a.example ], backends: &both [ { address: b1, port: 1 }, { address: b2, port: 1 } ] }
  - { serverNames: [ c.example ], backends: *both }
`;
    const { routes, problems } = parseRouteFile(text, 'r.yaml');
    expect(problems).toEqual([]);
    expect(routes[1]?.backends).toEqual(routes[0]?.backends);
    expect(routes[1]?.backends).toHaveLength(2);
  });

  it('may have no routes', () => {
    expect(parseRouteFile('routes: []', 'r.yaml')).toEqual({ routes: [], problems: [] });
  });
});

/** The file's content, and all problems that must be found, in this order. */
interface Golden {
  readonly claim: string;
  readonly text: string;
  readonly problems: readonly string[];
}

const ROUTE = 'routes:\n  - name: a\n    serverNames: [ a.example ]\n';

const YAML: readonly Golden[] = [
  { claim: 'an empty file', text: '', problems: ['1:1: expected a mapping, found nothing'] },
  { claim: 'a file of comments', text: '# soon\n', problems: ['1:1: expected a mapping, found nothing'] },
  { claim: 'a list at the top', text: '- a', problems: ['1:1: expected a mapping, found a list'] },
  {
    claim: 'a mistyped key at the top',
    text: 'route: []',
    problems: ['1:1: unknown key "route": did you mean "routes"?'],
  },
  { claim: 'an empty mapping', text: '{}', problems: ['1:1: expected the key "routes", found none'] },
  { claim: 'a key without a value', text: 'routes:\n', problems: ['1:8: expected a list, found nothing'] },
  { claim: 'a tab', text: 'routes:\n\t- a\n', problems: ['2:1: tabs are not allowed as indentation'] },
  {
    claim: 'a bracket that is not closed',
    text: 'routes: [\n',
    problems: ['2:1: flow sequence in block collection must be sufficiently indented and end with a ]'],
  },
  {
    claim: 'a second document',
    text: 'routes: []\n---\nroutes: []\n',
    problems: ['2:1: expected one document, found a second one: --- is allowed only at the top'],
  },
  { claim: 'a key set twice', text: 'routes: []\nroutes: []\n', problems: ['2:1: this key is already set above'] },
  { claim: 'a tag', text: 'routes: !env []\n', problems: ['1:9: unresolved tag: !env'] },
  {
    claim: 'a suffix without quotes',
    text: 'routes: [ { serverNames: [ *.a.example ], backends: [] } ]',
    problems: [
      '1:28: expected a host name, "*.suffix" or "*", found the undefined YAML alias *.a.example: a string that begins with * needs quotes',
    ],
  },
  {
    claim: 'a star without quotes',
    text: 'routes: [ { serverNames: [ * ], backends: [] } ]',
    problems: ['1:28: expected a value, found a YAML alias without a name: a string that begins with * needs quotes'],
  },
  {
    claim: 'mistyped keys at every level',
    text: 'routes:\n  - nmae: a\n    servernames: [ a.example ]\n    backends: [ { adress: 10.0.0.1, port: 1, protocol: tls } ]\n',
    problems: [
      '2:5: unknown key "nmae": did you mean "name"?',
      '3:5: unknown key "servernames": did you mean "serverNames"?',
      '4:19: unknown key "adress": did you mean "address"?',
      '4:46: unknown key "protocol": known keys are address, port, weight, priority, labels, proxyProtocol',
    ],
  },
  {
    claim: 'a route that lacks everything',
    text: 'routes:\n  - {}\n',
    problems: ['2:5: expected the key "serverNames", found none', '2:5: expected the key "backends", found none'],
  },
  {
    claim: 'values of the wrong kind',
    text: 'routes:\n  - name: 7\n    serverNames: a.example\n    backends: { address: b }\n    balance: [ random ]\n    connectTimeout: 2\n  - api\n',
    problems: [
      '2:11: expected a string of 1 to 253 printable characters, found the number 7',
      '3:18: expected a list, found "a.example"',
      '4:15: expected a list, found a mapping',
      '5:14: expected one of round_robin, least_connections, random, client_hash, name_hash, found a list',
      '6:21: expected a duration such as 500ms, 2s, 1m or 1h, from 1ms to 2147483647ms, found the number 2',
      '7:5: expected a mapping, found "api"',
    ],
  },
  {
    claim: 'numbers out of range',
    text: `${ROUTE}    backends: [ { address: b, port: 0 }, { address: b, port: 65536, weight: 0 }, { address: b, port: "1", weight: 1.5 } ]\n    connectTimeout: 0s\n`,
    problems: [
      '4:37: expected an integer from 1 to 65535, found the number 0',
      '4:62: expected an integer from 1 to 65535, found the number 65536',
      '4:77: expected an integer from 1 to 65535, found the number 0',
      '4:102: expected an integer from 1 to 65535, found "1"',
      '4:115: expected an integer from 1 to 65535, found the number 1.5',
      '5:21: expected a duration such as 500ms, 2s, 1m or 1h, from 1ms to 2147483647ms, found "0s"',
    ],
  },
  {
    claim: 'addresses that are none',
    text: `${ROUTE}    backends:
      - { address: "[::1]", port: 1 }
      - { address: "b:80", port: 1 }
      - { address: 10.0.0.256, port: 1 }
      - { address: "unix:run.sock" }
      - { address: "unix:/run.sock", port: 1 }
      - { address: "a b", port: 1 }
      - { address: b }
`,
    problems: [
      '5:20: expected an IP address, a DNS name or unix:/path without brackets, found "[::1]"',
      '6:20: expected an IP address, a DNS name or unix:/path with the port as a separate key, found "b:80"',
      '7:20: expected an IP address, a DNS name or unix:/path, found "10.0.0.256"',
      '8:20: expected unix: and an absolute path of at most 103 bytes, found "unix:run.sock"',
      '9:44: a unix socket has no port',
      '10:20: expected an IP address, a DNS name or unix:/path, found "a b"',
      '11:9: expected the key "port", found none',
    ],
  },
  {
    claim: 'server names that are none',
    text: 'routes:\n  - { serverNames: [ "*.", "a.*", "**", "a..b", "-a.b", 1.2.3.4, "::1", "", bücher.example ], backends: [] }\n  - { serverNames: [], backends: [] }\n',
    problems: [
      ...['"*."', '"a.*"', '"**"', '"a..b"', '"-a.b"', '"1.2.3.4"', '"::1"', '""'].map(
        (found, index) =>
          `2:${[22, 28, 35, 41, 49, 57, 66, 73][index]}: expected a host name, "*.suffix" or "*", found ${found}`,
      ),
      '2:77: expected a host name, "*.suffix" or "*" in ASCII (xn--bcher-kva.example), found "bücher.example"',
      '3:20: expected at least one server name, or fallback: true; found an empty list',
    ],
  },
  {
    claim: 'two routes with one name',
    text: `${ROUTE}    backends: []\n  - { name: a, serverNames: [ b.example ], backends: [] }\n`,
    problems: ['5:13: route name "a" is already used by another route, at r.yaml:2:11'],
  },
  {
    claim: 'two routes with one server name, however it is written',
    text: `${ROUTE}    backends: []\n  - { name: b, serverNames: [ "*", A.Example. ], backends: [] }\n`,
    problems: ['5:36: server name "a.example" of route "b" is already claimed by route "a", at r.yaml:3:20'],
  },
  {
    claim: 'two nameless routes with one server name, once',
    text: 'routes:\n  - { serverNames: [ a ], backends: [] }\n  - { serverNames: [ a ], backends: [] }\n',
    problems: ['3:22: server name "a" of route "a" is already claimed by route "a", at r.yaml:2:22'],
  },
  {
    claim: 'a server name twice in one route',
    text: 'routes: [ { serverNames: [ a, A ], backends: [] } ]',
    problems: ['1:31: server name "a" is in this route twice, first at r.yaml:1:28'],
  },
  {
    claim: 'aliases of aliases of aliases',
    text: `a: &a [ x ]\nb: &b [ ${'*a, '.repeat(999)} ]\nc: &c [ ${'*b, '.repeat(999)} ]\nroutes: []\n`,
    problems: ['3:2005: expected YAML aliases that add at most 1000000 values, found more'],
  },
];

const JSON_FILES: readonly Golden[] = [
  { claim: 'an empty file', text: '', problems: ['1:1: invalid JSON: value expected'] },
  { claim: 'a trailing comma', text: '{\n "routes": [],\n}', problems: ['3:1: invalid JSON: property name expected'] },
  { claim: 'a file cut short', text: '{"routes": []', problems: ['1:14: invalid JSON: close brace expected'] },
  { claim: 'a comment', text: '{"routes": [] // none\n}', problems: ['1:15: invalid JSON: invalid comment token'] },
  { claim: 'YAML', text: 'routes: []', problems: ['1:1: invalid JSON: invalid symbol'] },
  { claim: 'a key set twice', text: '{"routes": [], "routes": []}', problems: ['1:16: this key is already set above'] },
  {
    claim: 'a mistyped key',
    text: '{\n "Routes": []}',
    problems: ['2:2: unknown key "Routes": did you mean "routes"?'],
  },
];

describe('every problem of a YAML file is found with its line and column:', () => {
  it.each(YAML)('$claim', ({ text, problems }) => expect(problemLines(text, 'r.yaml')).toEqual(problems));
});

describe('every problem of a JSON file is found with its line and column:', () => {
  it.each(JSON_FILES)('$claim', ({ text, problems }) => expect(problemLines(text, 'r.json')).toEqual(problems));
});

describe('two files', () => {
  it('may not use the same name, and the problem has both positions', () => {
    const text = 'routes: [ { name: api, serverNames: [ a.example ], backends: [] } ]';
    const other = 'routes:\n  - { name: web, serverNames: [ b.example, a.example ], backends: [] }';
    const { problems } = mergeRouteFiles([parseRouteFilePart(text, '1.yaml'), parseRouteFilePart(other, '2.yaml')]);
    expect(problems.map(formatProblem)).toEqual([
      '2.yaml:2:44: server name "a.example" of route "web" is already claimed by route "api", at 1.yaml:1:39',
    ]);
  });
});

describe('any text', () => {
  const complete = `${ROUTE}    backends: &b [ { address: "10.0.0.1", port: 8443 } ]\n  - { serverNames: ["*.b"], backends: *b }\n`;

  it('truncated anywhere is parsed without an exception', () => {
    for (let end = 0; end <= complete.length; end += 1) parseRouteFile(complete.slice(0, end), 'r.yaml');
  });

  it('with any one character replaced is parsed without an exception, and its problem has a position', () => {
    for (const [index, character] of [...complete].flatMap((_, at) =>
      [...'\0\t\n :?*&!-[]{}"|%'].map((c) => [at, c] as const),
    )) {
      const { problems } = parseRouteFile(complete.slice(0, index) + character + complete.slice(index + 1), 'r.yaml');
      for (const { at } of problems) expect(at?.line).toBeGreaterThan(0);
    }
  });
});

/** The problems without the file name, which must be the same in all. */
function problemLines(text: string, file: string): readonly string[] {
  return parseRouteFile(text, file).problems.map((problem) => {
    expect(problem.at?.file).toBe(file);
    return formatProblem(problem).slice(`${file}:`.length);
  });
}

describe('anchors, aliases and merge keys', () => {
  it('allow any number of routes to share their backends', () => {
    const first = '  - { serverNames: [r0.example.com], backends: &pool [{ address: 127.0.0.1, port: 9441 }] }\n';
    const others = Array.from(
      { length: 1_000 },
      (_none, index) => `  - { serverNames: [r${index + 1}.example.com], backends: *pool }\n`,
    );
    const { routes, problems } = parseRouteFile(`routes:\n${first}${others.join('')}`, 'r.yaml');
    expect([problems, routes.length]).toEqual([[], 1_001]);
    expect(routes[1_000]?.backends).toEqual([
      { address: { host: '127.0.0.1', port: 9_441 }, weight: 1, healthy: true },
    ]);
  });

  it('allow a route to reuse the settings of another', () => {
    const text = `routes:
  - &base { serverNames: [a.example.com], backends: [{ address: 10.0.0.1, port: 1 }], balance: random, connectTimeout: 2s }
  - { <<: *base, serverNames: [b.example.com], connectTimeout: 3s }
`;
    const { routes, problems } = parseRouteFile(text, 'r.yaml');
    expect(problems).toEqual([]);
    expect(routes[1]).toMatchObject({
      name: 'b.example.com',
      balance: 'random',
      connectTimeoutMs: 3_000,
      backends: [{ address: { port: 1 } }],
    });
  });

  it('that share a mistake report it once, with its position', () => {
    const text =
      'routes:\n  - { serverNames: [a], backends: &b [{ address: 10.0.0.1, prot: 1 }] }\n  - { serverNames: [b], backends: *b }\n';
    expect(parseRouteFile(text, 'r.yaml').problems.map(formatProblem)).toContain(
      'r.yaml:2:60: unknown key "prot": did you mean "port"?',
    );
  });
});

describe('large multiples of a single line', () => {
  it('repeated names by aliases are reported up to a limit', () => {
    const names = Array.from({ length: 500 }, (_, index) => `n${index}.example`).join(', ');
    const again = Array.from({ length: 9 }, (_, index) => `  - { name: r${index}, serverNames: *n, backends: *b }\n`);
    const first = `  - { name: a, serverNames: &n [ ${names} ], backends: &b [ { address: 10.0.0.1, port: 1 } ] }\n`;
    const { problems } = parseRouteFile(`routes:\n${first}${again.join('')}`, 'r.yaml');
    expect(problems).toHaveLength(1_001);
    expect(problems.map(({ message }) => message)).toContain('and more names that are claimed twice');
  });

  it('all names of one route are parsed', () => {
    const serverNames = Array.from({ length: 200_000 }, (_, index) => `n${index}.example`);
    const route = { name: 'a', serverNames, backends: [{ address: '10.0.0.1', port: 1 }] };
    const { routes, problems } = parseRouteFile(JSON.stringify({ routes: [route] }), 'r.json');
    expect([routes[0]?.serverNames.length, problems]).toEqual([200_000, []]);
  });
});
