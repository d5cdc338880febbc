// What a plugin throws may not be an error, and may not be readable.
import { describe, expect, it } from 'vitest';
import { errorOf, ProxyError, systemCode, withCause } from '../src/errors.ts';

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable(new Error('gone'), {});
  revoke();
  return proxy;
}

function throwing(key: 'name' | 'message' | 'code' | 'cause'): Error {
  const error = Object.assign(new ProxyError('DENIED', 'no'), { key });
  Object.defineProperty(error, key, {
    get: () => {
      throw new Error('a getter threw');
    },
  });
  return error;
}

const UNREADABLE: readonly (readonly [what: string, thrown: unknown, message: string])[] = [
  ['a proxy that is revoked', revoked(), 'a value of type object that has no text'],
  ['an error whose message is a symbol', Object.assign(new Error('x'), { message: Symbol('no') }), 'has no text'],
  ['an error whose message is a getter that throws', throwing('message'), 'has no text'],
  ['an error whose name is a getter that throws', throwing('name'), 'has no text'],
  ['an object without a prototype', Object.create(null), 'a value of type object that has no text'],
  ['a symbol', Symbol('no'), 'Symbol(no)'],
  ['nothing', undefined, 'undefined'],
  ['a number', 7n, '7'],
  ['a function', () => 1, '() => 1'],
];

describe('whatever is thrown', () => {
  it.each(UNREADABLE)('is an error with words: %s', (_what, thrown, message) => {
    expect(errorOf(thrown)).toBeInstanceOf(Error);
    expect(errorOf(thrown).message).toContain(message);
  });

  it.each(UNREADABLE)('becomes INTERNAL, and names who threw it: %s', (_what, thrown, message) => {
    const error = ProxyError.from(thrown, 'filter hostile');
    expect([error.code, error.side, error.cause === thrown]).toEqual(['INTERNAL', 'proxy', true]);
    expect(error.message).toMatch(/^filter hostile: /);
    expect(error.message).toContain(message);
  });

  it('stays what it is when it is an error', () => {
    const error = new RangeError('too long');
    expect(errorOf(error)).toBe(error);
    const refused = new ProxyError('DENIED', 'no');
    expect(ProxyError.from(refused, 'filter one')).toBe(refused);
  });
});

describe('the message of an error', () => {
  const refused = new Error('connect ECONNREFUSED 127.0.0.1:8080');

  it.each([
    [
      'includes that of its cause, as for `fetch` of Node',
      new TypeError('fetch failed', { cause: refused }),
      'fetch failed: connect ECONNREFUSED 127.0.0.1:8080',
    ],
    [
      'includes the code of a cause without a message, as for a host with several addresses',
      new TypeError('fetch failed', { cause: Object.assign(new AggregateError([refused]), { code: 'ECONNREFUSED' }) }),
      'fetch failed: ECONNREFUSED',
    ],
    [
      'does not repeat its cause',
      new Error(`agent: ${refused.message}`, { cause: refused }),
      `agent: ${refused.message}`,
    ],
    ['is unchanged without a cause', refused, refused.message],
    ['is unchanged if the cause says nothing', new Error('broke', { cause: new Error('') }), 'broke'],
    ['is unchanged if the cause cannot be read', new Error('broke', { cause: throwing('message') }), 'broke'],
    ['is unchanged if its cause is a getter that throws', throwing('cause'), 'no'],
  ])('%s', (_claim, error, message) => {
    expect(withCause(error).message).toBe(message);
  });

  it('that a part throws includes that of its cause', () => {
    const error = ProxyError.from(new TypeError('fetch failed', { cause: refused }), 'filter one');
    expect(error.message).toBe('filter one: fetch failed: connect ECONNREFUSED 127.0.0.1:8080');
  });
});

describe('an error of the proxy', () => {
  it.each([
    ['whose code is none', Object.assign(new ProxyError('DENIED', 'no'), { code: 'TIRED' })],
    ['whose code is what objects inherit', Object.assign(new ProxyError('DENIED', 'no'), { code: 'toString' })],
    ['whose code is a getter that throws', throwing('code')],
    ['that knows no side', Object.assign(new Error('no'), { name: 'ProxyError', code: 'DENIED' })],
    ['that is no error', { name: 'ProxyError', message: 'no', code: 'DENIED', side: 'downstream' }],
  ])('is not one %s', (_what, error) => {
    expect(error instanceof ProxyError).toBe(false);
  });
});

describe('the code of a system error', () => {
  it.each<[what: string, thrown: unknown, code: string | undefined]>([
    ['is that of the error', Object.assign(new Error('no'), { code: 'ENOENT' }), 'ENOENT'],
    ['is none if it is no string', Object.assign(new Error('no'), { code: 5 }), undefined],
    ['is none for what is no error', { code: 'ENOENT' }, undefined],
    ['is none if it is a getter that throws', throwing('code'), undefined],
    ['is none for a proxy that is revoked', revoked(), undefined],
  ])('%s', (_claim, thrown, code) => {
    expect(systemCode(thrown)).toBe(code);
  });
});
