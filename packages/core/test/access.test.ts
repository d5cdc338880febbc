import { describe, expect, it } from 'vitest';
import { Access, accessByListener } from '../src/pipeline/access.ts';
import type { AddressLists } from '../src/pipeline/access.ts';
import { addressSet } from '../src/pipeline/address-set.ts';
import type { AccessRules } from '../src/routes/route.ts';

const CLIENT = '192.0.2.1';

/** Files with these entries; `undefined` for files that have not been read. */
function listsOf(files: Readonly<Record<string, readonly string[] | undefined>>) {
  const read: string[] = [];
  const lists: AddressLists = {
    get: (path) => (files[path] === undefined ? undefined : addressSet(files[path])),
    read: (path) => Promise.resolve(void read.push(path)),
  };
  return { lists, read };
}

describe('access rules', () => {
  it.each<[rules: AccessRules, files: Readonly<Record<string, readonly string[] | undefined>>, refused: string]>([
    [{}, {}, 'not refused'],
    [{ deny: [] }, {}, 'not refused'],
    [{ allow: ['192.0.2.0/24'] }, {}, 'not refused'],
    [{ allow: ['198.51.100.0/24'] }, {}, 'not among those allowed'],
    [{ allow: [] }, {}, 'not among those allowed'],
    [{ allow: [CLIENT], deny: [CLIENT] }, {}, 'is denied'],
    [{ denyFile: '/deny' }, { '/deny': [CLIENT] }, 'is denied'],
    [{ denyFile: '/deny' }, { '/deny': ['198.51.100.1'] }, 'not refused'],
    [{ denyFile: '/deny' }, {}, 'could not be read'],
    [{ allowFile: '/allow' }, { '/allow': [CLIENT] }, 'not refused'],
    [{ allowFile: '/allow' }, { '/allow': [] }, 'not among those allowed'],
    [{ allowFile: '/allow' }, {}, 'could not be read'],
    [{ allow: [CLIENT], allowFile: '/allow' }, {}, 'not refused'],
    [{ allow: ['198.51.100.1'], allowFile: '/allow' }, { '/allow': [CLIENT] }, 'not refused'],
    [{ allowFile: '/allow', denyFile: '/deny' }, { '/allow': [CLIENT], '/deny': [CLIENT] }, 'is denied'],
    [{ allowFile: '/allow', denyFile: '/deny' }, { '/allow': [CLIENT] }, 'could not be read'],
  ])('%j with the files %j: the client is %s', (rules, files, refused) => {
    const refusal = new Access('listener edge', rules, listsOf(files).lists).refusal(CLIENT);
    expect(refusal?.message ?? 'not refused').toContain(refused);
    expect(refusal?.code ?? 'CLIENT_DENIED').toBe('CLIENT_DENIED');
  });

  it.each<AccessRules>([{ allowFile: '/allow' }, { denyFile: '/deny' }])(
    'let nobody in by a file that nobody reads: %j',
    (rules) => {
      expect(new Access('route api', rules).refusal(CLIENT)?.message).toContain('could not be read');
      expect(new Access('route api', rules).ready).toBeUndefined();
    },
  );

  it.each<
    [what: string, rules: AccessRules, files: Readonly<Record<string, readonly string[] | undefined>>, reads: string[]]
  >([
    ['no file', { deny: [CLIENT] }, {}, []],
    ['files that were read', { allowFile: '/a', denyFile: '/b' }, { '/a': [], '/b': [] }, []],
    ['a file that was not read', { allowFile: '/a', denyFile: '/b' }, { '/a': [] }, ['/b']],
    ['files that were not read', { allowFile: '/a', denyFile: '/b' }, {}, ['/a', '/b']],
  ])('wait for %s', async (_what, rules, files, reads) => {
    const { lists, read } = listsOf(files);
    const { ready } = new Access('route api', rules, lists);
    expect(ready === undefined).toBe(reads.length === 0);
    await ready;
    expect(read).toEqual(reads);
  });

  it('are those of the listener that has them', () => {
    const at = { endpoint: { host: '::', port: 1 } };
    const accessOf = accessByListener([
      { name: 'open', ...at },
      { name: 'closed', ...at, access: { allow: [] } },
    ]);
    expect([accessOf('open'), accessOf('other')]).toEqual([undefined, undefined]);
    expect(accessOf('closed')?.refusal(CLIENT)?.message).toContain('access of listener closed');
    expect(() => accessByListener([{ name: 'odd', ...at, access: { deny: ['somebody'] } }])).toThrow(
      'found "somebody"',
    );
  });
});
