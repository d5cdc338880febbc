// What a plugin throws may not be an error, and may not be readable.
import { describe, expect, it } from 'vitest';
import { errorOf, ProxyError } from '../src/errors.ts';

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable(new Error('gone'), {});
  revoke();
  return proxy;
}

function throwing(key: 'name' | 'message' | 'code'): Error {
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
