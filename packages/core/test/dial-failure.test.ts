import { describe, expect, it } from 'vitest';
import { SIDES } from '../src/errors.ts';
import { dialFailure, dialTimeout } from '../src/transport/dial-failure.ts';

const TO = { host: '192.0.2.1', port: 443 };

function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`connect ${code}`), { code });
}

describe('the error of a dial', () => {
  it.each([
    ['EMFILE', 'ulimit -n'],
    ['ENFILE', 'fs.file-max'],
    ['EADDRNOTAVAIL', 'ip_local_port_range'],
    ['EADDRINUSE', 'ip_local_port_range'],
    ['EAGAIN', 'ip_local_port_range'],
    ['EAFNOSUPPORT', 'address family not available'],
    ['ENETDOWN', 'interface'],
    ['ENOBUFS', 'memory'],
    ['ENOMEM', 'memory'],
    ['EPERM', 'packet filter'],
    ['EINVAL', 'blackhole route'],
    ['EACCES', 'permission'],
  ])('is the fault of the proxy for %s, names the limit and keeps the cause', (name, limit) => {
    const cause = systemError(name);
    const error = dialFailure(TO, cause);
    expect(error).toMatchObject({ code: 'LOCAL_RESOURCE', cause });
    expect(error.message).toContain(limit);
    expect(SIDES[error.code]).toBe('proxy');
  });

  it.each([
    ['ECONNREFUSED', 'CONNECT_REFUSED'],
    ['ENOENT', 'CONNECT_REFUSED'],
    ['ETIMEDOUT', 'CONNECT_TIMEOUT'],
    ['EHOSTUNREACH', 'CONNECT_FAILED'],
    ['ENETUNREACH', 'CONNECT_FAILED'],
  ])('is the fault of the upstream for %s with %s', (name, code) => {
    const error = dialFailure(TO, systemError(name));
    expect(error).toMatchObject({ code, message: `dial 192.0.2.1:443: ${name}` });
    expect(SIDES[error.code]).toBe('upstream');
  });

  it('is the fault of the upstream for a unix socket whose queue is full', () => {
    expect(dialFailure({ host: 'unix:/run/db.sock', port: 0 }, systemError('EAGAIN')).code).toBe('CONNECT_FAILED');
  });

  it('reports the elapsed time in rounded numbers', () => {
    expect(dialTimeout(TO, 2_499.973248).message).toBe('dial 192.0.2.1:443: no response within 2.5 s');
  });
});
