import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Filterable, parseFilter } from '../src/index.ts';

/** p1 to p3 have versions v1 to v3; p4 has none. */
const INSTANCES = [
  subject('p1', { version: 'v1' }, ['t1', 'blue']),
  subject('p2', { version: 'v2', 'with space': 'yes' }, ['t2']),
  subject('p3', { version: 'v3' }, [], 'critical'),
  subject('p4', {}, []),
];

describe('a filter selects what Consul selects', () => {
  it.each<[string, string]>([
    ['', 'p1 p2 p3 p4'],
    ['Service.Meta.version == v1', 'p1'],
    ['Service.Meta.version==v1', 'p1'],
    ['Service.Meta.version == "v1"', 'p1'],
    ['Service.Meta.version == `v1`', 'p1'],
    ['Service.Meta["version"] == v2', 'p2'],
    ['Service.Meta["with space"] == yes', 'p2'],
    ['Service.Meta.version != v1', 'p2 p3 p4'],
    ['Service.Meta.nothing == x', ''],
    ['Service.Meta.nothing != x', 'p1 p2 p3 p4'],
    ['not Service.Meta.version == v1', 'p2 p3 p4'],
    ['not not Service.Meta.version == v1', 'p1'],
    ['version in Service.Meta', 'p1 p2 p3'],
    ['Service.Meta contains version', 'p1 p2 p3'],
    ['Service.Meta not contains version', 'p4'],
    ['"t2" in Service.Tags', 'p2'],
    ['"t2" not in Service.Tags', 'p1 p3 p4'],
    ['Service.Tags contains blue', 'p1'],
    ['Service.Tags is empty', 'p3 p4'],
    ['Service.Tags is not empty', 'p1 p2'],
    ['Service.Meta is empty', 'p4'],
    ['Service.Meta.version matches "v[12]"', 'p1 p2 p4'],
    ['Service.Meta.version == v1 or Service.Meta.version == v2', 'p1 p2'],
    ['Service.Meta.version == v1 and Service.Tags contains blue or Service.ID == p4', 'p1 p4'],
    ['Service.Meta.version == v1 and (Service.Tags contains t2 or Service.ID == p4)', ''],
    ['(Service.ID == p1)', 'p1'],
    ['Service.ID matches "^p[34]$"', 'p3 p4'],
    ['Service.ID matches "(?i)^P(?P<number>[34])$"', 'p3 p4'],
    ['Service.ID not matches "^p[34]$"', 'p1 p2'],
    ['Service.Port == 8080', 'p1 p2 p3 p4'],
    ['Service.TaggedAddresses.wan.Port == 443', 'p1 p2 p3 p4'],
    ['Checks.Status == critical', 'p3'],
    ['Checks.Status != passing', 'p3'],
    ['Checks is empty', ''],
    ['Node.Datacenter == dc1', 'p1 p2 p3 p4'],
    ['Service.Meta.constructor == x or Service.Meta["__proto__"] == x', ''],
  ])('%s', (text, expected) => {
    const filter = parseFilter(text);
    if (filter.kind === 'refused') throw new Error(filter.reason);
    expect(INSTANCES.filter((one) => filter.selects(one)).map(({ Service }) => Service['ID'])).toEqual(
      expected.split(' ').filter(Boolean),
    );
  });
});

describe('a filter is rejected', () => {
  it.each([
    ['Service.Nope == x', 'expected a field of an instance, found Service.Nope'],
    ['Service.Meta.k is empty', 'expected another operator for Service.Meta.k, found empty: it is a text'],
    ['Service.Tags == x', 'expected another operator for Service.Tags, found ==: it is a list'],
    ['Service.Meta.version', 'expected ==, !=, in, contains, matches, is empty or one of them with not, found the end'],
    ['Service.Meta.version ==', 'expected a value, found the end'],
    ['Service.ID == p1 Service.ID == p2', 'expected and, or, or the end, found "Service.ID" at character 18'],
    ['(Service.ID == p1', 'expected ), found the end'],
    ['constructor == x', 'expected a field of an instance, found constructor'],
    ['toString is empty', 'expected a field of an instance, found toString'],
    ['__proto__ == x', 'expected a field, found "__proto__" at character 1'],
    ['"unclosed', 'expected a filter expression, found "unclosed'],
    ['Service.ID matches "("', 'expected a regular expression, found "("'],
    ['Service.Meta["k" == x', 'expected ], found "==" at character 18'],
    [`${'not '.repeat(200)}Service.ID == p1`, 'expected at most 100 nested parts, found more'],
  ])('%s', (text, reason) => expect(parseFilter(text)).toEqual({ kind: 'refused', reason }));

  it('and an expression that makes others backtrack forever finishes', () => {
    const filter = parseFilter('Service.ID matches "^(a+)+$"');
    expect(filter.kind === 'filter' && filter.selects(subject(`${'a'.repeat(5_000)}!`, {}, []))).toBe(false);
  });

  it.each(['or', 'and not'])('or selects, with 10,000 terms joined by %s', (word) => {
    const text = Array.from({ length: 10_000 }, (_, index) => `Service.ID == p${index}`).join(` ${word} `);
    const filter = parseFilter(text);
    const selected = INSTANCES.filter((one) => filter.kind === 'filter' && filter.selects(one));
    expect(selected).toHaveLength(word === 'or' ? INSTANCES.length : 0);
  });

  it('or is parsed without an exception', () => {
    const word = fc.constantFrom(
      'Service.ID',
      'Service.Meta.v',
      'and',
      'or',
      'not',
      'in',
      'is',
      'empty',
      '==',
      '(',
      ')',
      '"a"',
      '[',
      ']',
      'x',
    );
    const anyText = fc.oneof(
      fc.string(),
      fc.array(word).map((words) => words.join(' ')),
    );
    fc.assert(
      fc.property(anyText, (text) => {
        const filter = parseFilter(text);
        if (filter.kind === 'filter') for (const one of INSTANCES) filter.selects(one);
      }),
      { numRuns: 2_000 },
    );
  });
});

function subject(
  id: string,
  meta: Readonly<Record<string, string>>,
  tags: readonly string[],
  status = 'passing',
): Filterable {
  return {
    Node: { Node: 'n1', Datacenter: 'dc1', Meta: {} },
    Service: { ID: id, Port: 8_080, Meta: meta, Tags: tags, TaggedAddresses: { wan: { Address: 'w', Port: 443 } } },
    Checks: [{ CheckID: 'c', Status: status }],
  };
}
