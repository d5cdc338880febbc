import type { ListenerStatus, SourceStatus } from '@meshgate/core/parts';
import { describe, expect, it } from 'vitest';
import { readinessOf } from '../src/admin/readiness.ts';
import type { Vitals } from '../src/admin/readiness.ts';

const endpoint = { host: '127.0.0.1', port: 8443 };
const bound: ListenerStatus = { name: 'main', endpoint, address: endpoint };
const unbound: ListenerStatus = { name: 'wan', endpoint };
const reported: SourceStatus = { name: 'file', state: 'current', routes: 1, lastSuccess: new Date(), warnings: [] };
const silent: SourceStatus = { name: 'consul', state: 'waiting', routes: 0, warnings: [] };
const certificate = { identity: 'spiffe://x/svc/web', validUntil: new Date(0) };
const fine: Vitals = { sources: [reported], listeners: [bound], drain: 'serving' };

describe('ready', () => {
  it('is ready when it listens, knows its routes, and does not drain', () => {
    expect(readinessOf(fine)).toEqual({ ready: true, reasons: [], warnings: [] });
  });

  it.each<[string, Partial<Vitals>, readonly string[]]>([
    ['it drains', { drain: 'announcing' }, ['draining: announcing']],
    ['nothing is bound', { listeners: [unbound] }, ['no listener is bound']],
    ['there is no listener', { listeners: [] }, ['no listener is bound']],
    ['a source is silent', { sources: [reported, silent] }, ['source consul: no snapshot yet']],
    [
      'a source has only ever failed',
      { sources: [{ ...silent, state: 'failing', error: new Error('refused') }] },
      ['source consul: no snapshot yet: refused'],
    ],
    [
      'its certificate has never come',
      { certificate: { source: 'ca', error: new Error('permission denied') } },
      ['source ca: no certificate yet: permission denied'],
    ],
    [
      'its certificate has expired',
      { certificate: { source: 'ca', certificate: { ...certificate, state: 'expired' } } },
      [
        'certificate of spiffe://x/svc/web expired at 1970-01-01T00:00:00.000Z and has not been renewed; peers reject it',
      ],
    ],
  ])('is not ready when %s', (_claim, vitals, reasons) => {
    expect(readinessOf({ ...fine, ...vitals })).toMatchObject({ ready: false, reasons });
  });

  it.each<[string, Partial<Vitals>, readonly string[]]>([
    [
      'one of several listeners is not bound',
      { listeners: [bound, unbound] },
      ['listener wan: not bound to 127.0.0.1:8443'],
    ],
    [
      'a source fails that has spoken before',
      { sources: [{ ...reported, state: 'failing', error: new Error('refused') }] },
      ['source file: failing, keeping last routes: refused'],
    ],
    [
      'a source warns',
      { sources: [{ ...reported, warnings: ['token lacks node:read'] }] },
      ['source file: token lacks node:read'],
    ],
    [
      'its certificate should have been renewed, and why it was not',
      {
        certificate: {
          source: 'ca',
          certificate: { ...certificate, state: 'overdue' },
          error: new Error('No cluster leader'),
        },
      },
      [
        'certificate of spiffe://x/svc/web expires at 1970-01-01T00:00:00.000Z and has not been renewed',
        'source ca: failing, keeping last certificate: No cluster leader',
      ],
    ],
  ])('is ready with a warning when %s', (_claim, vitals, warnings) => {
    expect(readinessOf({ ...fine, ...vitals })).toEqual({ ready: true, reasons: [], warnings });
  });
});
