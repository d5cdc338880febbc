import { ProxyError } from '@meshgate/core';
import type { ProxyEvent } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { logObserver } from '../src/log/log-observer.ts';

const address = { host: '10.0.0.1', port: 443 };
const connection = { id: '7', listener: 'main', remote: address, local: address, at: 0 };
const refused: ProxyEvent = {
  type: 'connection.refused',
  listener: 'main',
  remote: address,
  error: new ProxyError('LIMIT_REACHED', 'all 10 connections are in use'),
};
const closed = (error: ProxyError): ProxyEvent => ({
  type: 'connection.closed',
  closed: { connection, attempts: 0, transfer: { bytesUp: 0, bytesDown: 0, error }, closedAt: 1, error },
});
const replaced = (...warnings: string[]): ProxyEvent => ({
  type: 'routes.replaced',
  source: 'file',
  snapshot: { version: 'v', routes: [], warnings },
  removed: [],
  tookMs: 1.4,
});
const failed: ProxyEvent = { type: 'source.failed', source: 'file', error: new Error('gone'), retryInMs: 250.4 };
const certificate = { identity: 'spiffe://x/svc/web', validUntil: new Date(0) };
const updated: ProxyEvent = { type: 'source.updated', source: 'file', changed: false, asOf: new Date(0) };

/** The log lines for these events: level and message. */
function written(...events: readonly ProxyEvent[]): readonly string[] {
  const lines: string[] = [];
  const at = (level: string) => (_facts: object, message: string) => lines.push(`${level}: ${message}`);
  const logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  const observer = logObserver(logger as never);
  for (const event of events) observer.observe(event);
  return lines;
}

describe('the log', () => {
  it.each<[string, readonly ProxyEvent[], readonly string[]]>([
    [
      'has bugs as errors',
      [closed(new ProxyError('INTERNAL', 'x is undefined'))],
      ['error: internal error, connection closed: x is undefined'],
    ],
    [
      'has other ends of connections for debugging',
      [closed(new ProxyError('IDLE_TIMEOUT', 'silent'))],
      ['debug: silent'],
    ],
    [
      'has one line of a flood of refusals',
      [refused, refused, refused],
      ['warn: connection refused: all 10 connections are in use'],
    ],
    [
      'has a warning when it is new, and its end',
      [replaced('old'), replaced('old'), replaced('old', 'new'), replaced()],
      [
        'info: routes updated: 0 routes',
        'warn: source warning: old',
        'info: routes updated: 0 routes',
        'info: routes updated: 0 routes',
        'warn: source warning: new',
        'info: routes updated: 0 routes',
        'info: source warnings cleared',
      ],
    ],
    [
      'has a warning that comes and goes once a minute, and its end when its beginning was logged',
      [
        replaced('flaps'),
        replaced(),
        replaced('flaps'),
        replaced(),
        replaced('flaps', 'stays'),
        replaced('stays'),
        replaced('flaps'),
        replaced(),
      ],
      [
        'info: routes updated: 0 routes',
        'warn: source warning: flaps',
        'info: routes updated: 0 routes',
        'info: source warnings cleared',
        'info: routes updated: 0 routes',
        'info: routes updated: 0 routes',
        'info: routes updated: 0 routes',
        'warn: source warning: stays',
        'info: routes updated: 0 routes',
        'info: routes updated: 0 routes',
        'info: routes updated: 0 routes',
        'info: source warnings cleared',
      ],
    ],
    [
      'has nothing of a snapshot with the same routes but its warnings',
      [replaced(), { ...replaced('slow'), previous: { version: 'w', routes: [] } } as ProxyEvent],
      ['info: routes updated: 0 routes', 'warn: source warning: slow'],
    ],
    [
      'has the failure of a source and its recovery, and not each of its words',
      [updated, failed, updated, updated],
      ['warn: source failed, keeping last routes: gone', 'info: source recovered after 0 ms'],
    ],
    [
      'does not say of a source that has said nothing yet that this stays in use',
      [failed, updated],
      ['warn: source failed, no routes yet: gone', 'info: source recovered after 0 ms'],
    ],
    [
      'has a certificate when it is taken into use, a warning when it should have been renewed, an error when it has expired',
      [
        { type: 'certificate.installed', source: 'ca', certificate, authorities: [] },
        { type: 'certificate.aged', source: 'ca', certificate, state: 'overdue' },
        { type: 'certificate.aged', source: 'ca', certificate, state: 'expired' },
      ],
      [
        'info: certificate of spiffe://x/svc/web installed, valid until 1970-01-01T00:00:00.000Z',
        'warn: certificate of spiffe://x/svc/web expires at 1970-01-01T00:00:00.000Z and has not been renewed',
        'error: certificate of spiffe://x/svc/web expired at 1970-01-01T00:00:00.000Z and has not been renewed; peers reject it',
      ],
    ],
    [
      'has what an observer threw',
      [{ type: 'observer.threw', observer: 'mine', error: new Error('oops') }],
      ['error: observer failed: oops'],
    ],
  ])('%s', (_claim, events, lines) => {
    expect(written(...events)).toEqual(lines);
  });
});
