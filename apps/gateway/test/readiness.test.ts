import type { ListenerStatus, SourceStatus } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { readinessOf } from '../src/readiness.ts';
import type { Vitals } from '../src/readiness.ts';

const endpoint = { host: '127.0.0.1', port: 8443 };
const bound: ListenerStatus = { name: 'main', endpoint, address: endpoint };
const unbound: ListenerStatus = { name: 'wan', endpoint };
const spoken: SourceStatus = { name: 'file', state: 'current', routes: 1, lastSuccess: new Date(), warnings: [] };
const silent: SourceStatus = { name: 'consul', state: 'waiting', routes: 0, warnings: [] };
const fine: Vitals = { sources: [spoken], listeners: [bound], drain: 'serving' };

describe('ready', () => {
  it('is a gateway that listens, knows its routes, and does not drain', () => {
    expect(readinessOf(fine)).toEqual({ ready: true, reasons: [], warnings: [] });
  });

  it.each<[string, Partial<Vitals>, readonly string[]]>([
    ['it drains', { drain: 'announcing' }, ['draining: announcing']],
    ['nothing is bound', { listeners: [unbound] }, ['nothing is listening']],
    ['there is no listener', { listeners: [] }, ['nothing is listening']],
    ['a source is silent', { sources: [spoken, silent] }, ['source consul has not spoken yet']],
    [
      'a source has only ever failed',
      { sources: [{ ...silent, state: 'failing', error: new Error('refused') }] },
      ['source consul has not spoken yet: refused'],
    ],
  ])('is no gateway when %s', (_claim, vitals, reasons) => {
    expect(readinessOf({ ...fine, ...vitals })).toMatchObject({ ready: false, reasons });
  });

  it.each<[string, Partial<Vitals>, readonly string[]]>([
    [
      'one of several listeners is not bound',
      { listeners: [bound, unbound] },
      ['listener wan is not bound to 127.0.0.1:8443'],
    ],
    [
      'a source fails that has spoken before',
      { sources: [{ ...spoken, state: 'failing', error: new Error('refused') }] },
      ['source file: failing, its last routes stay in use: refused'],
    ],
    [
      'a source warns',
      { sources: [{ ...spoken, warnings: ['token lacks node:read'] }] },
      ['source file: token lacks node:read'],
    ],
  ])('is a gateway also when %s, which is a warning', (_claim, vitals, warnings) => {
    expect(readinessOf({ ...fine, ...vitals })).toEqual({ ready: true, reasons: [], warnings });
  });
});
