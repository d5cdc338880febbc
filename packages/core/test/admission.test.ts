import { describe, expect, it } from 'vitest';
import { Admission } from '../src/pipeline/admission.ts';

describe('admission', () => {
  it('refuses connections above the limit, and admits one again after another has closed', () => {
    const admission = new Admission({ connections: 2, pendingHellos: 2 });
    expect([admission.admit(), admission.admit()]).toEqual([undefined, undefined]);
    admission.helloComplete();
    expect(admission.admit()).toMatchObject({
      code: 'LIMIT_REACHED',
      message: 'limits.connections: all 2 connections are in use',
    });
    admission.released(true);
    expect(admission.admit()).toBeUndefined();
  });

  it('has a separate pool for incomplete hellos, and admits the newcomer when it is full', () => {
    const admission = new Admission({ connections: 10, pendingHellos: 1 });
    expect(admission.admit()).toBeUndefined();
    expect(admission.hasTooManyPending).toBe(false);
    expect(admission.admit()).toBeUndefined();
    expect(admission.hasTooManyPending).toBe(true);
    admission.helloComplete();
    expect(admission.hasTooManyPending).toBe(false);
    expect(admission.admit()).toBeUndefined();
    admission.released(false);
    expect(admission.hasTooManyPending).toBe(false);
  });

  it('refuses a client at its limit, and no other', () => {
    const admission = new Admission({ connections: 10, pendingHellos: 10, perClient: { connections: 1 } });
    expect(admission.admitClient('192.0.2.1')).toBeUndefined();
    expect(admission.admitClient('192.0.2.1')).toMatchObject({
      code: 'LIMIT_REACHED',
      message: 'limits.perClient.connections: 192.0.2.1 has 1 connections',
    });
    expect(admission.admitClient('192.0.2.2')).toBeUndefined();
    admission.clientReleased('192.0.2.1');
    expect(admission.admitClient('192.0.2.1')).toBeUndefined();
  });

  it('treats an IPv6 network as one client', () => {
    const admission = new Admission({ connections: 10, pendingHellos: 10, perClient: { connections: 1 } });
    expect(admission.admitClient('2001:db8::1')).toBeUndefined();
    expect(admission.admitClient('2001:db8:0:0:ffff::2')?.code).toBe('LIMIT_REACHED');
    expect(admission.admitClient('2001:db8:0:1::1')).toBeUndefined();
  });

  it.each([
    [10_000, 5_000],
    [300, 256],
  ])('of %i connections leaves %i to one client by default', (connections, most) => {
    const admission = new Admission({ connections, pendingHellos: connections });
    const outcomes = Array.from({ length: most + 1 }, () => admission.admitClient('192.0.2.1')?.code);
    expect(outcomes.indexOf('LIMIT_REACHED')).toBe(most);
  });

  it('has no limit for unix sockets, whose clients have no address', () => {
    const admission = new Admission({ connections: 10, pendingHellos: 10, perClient: { connections: 1 } });
    expect([1, 2, 3].map(() => admission.admitClient('unix:/run/app.sock'))).toEqual([undefined, undefined, undefined]);
  });
});
