import { ProxyError } from '@meshgate/core';
import type { ClosedConnection, ProxyErrorCode } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { accessLog } from '../src/log/access-log.ts';
import type { AccessLogOptions } from '../src/log/access-log.ts';
import { RefusalThrottle } from '../src/log/refusal-throttle.ts';

function closed(host: string, code: ProxyErrorCode = 'NO_SERVER_NAME', message = 'no name'): ClosedConnection {
  const error = new ProxyError(code, message);
  const endpoint = { host, port: 1 };
  const connection = { id: '1', listener: 'main', remote: endpoint, local: endpoint, at: 0 };
  return { connection, attempts: 0, transfer: { bytesUp: 0, bytesDown: 0, error }, closedAt: 1, error };
}

describe('refused clients', () => {
  it('have a line a minute each, with the number of suppressed ones', () => {
    let now = 0;
    const throttle = new RefusalThrottle(() => now);
    const checks = Array.from({ length: 6 }, () => throttle.repeatsOf(closed('10.0.0.1')));
    expect(checks).toEqual([0, undefined, undefined, undefined, undefined, undefined]);
    expect(throttle.repeatsOf(closed('10.0.0.2'))).toBe(0);
    now = 60_000;
    expect(throttle.repeatsOf(closed('10.0.0.1'))).toBe(5);
  });

  it('have a line for another reason, but not for any number of names', () => {
    const throttle = new RefusalThrottle(() => 0);
    const lines = Array.from({ length: 1_000 }, (_, index) =>
      throttle.repeatsOf(closed('10.0.0.1', 'ROUTE_NOT_FOUND', `no route for ${index}.example`)),
    );
    expect(lines.filter((repeats) => repeats !== undefined)).toHaveLength(20);
    expect(throttle.repeatsOf(closed('10.0.0.1', 'SNIFF_UNRECOGNIZED', 'GET /'))).toBe(0);
  });

  it('write a bounded number of lines a minute however many they are, and every line is counted', () => {
    let now = 0;
    const throttle = new RefusalThrottle(() => now);
    const scan = Array.from({ length: 5_000 }, (_, index) =>
      throttle.repeatsOf(closed(`10.0.${index >> 8}.${index & 255}`)),
    );
    expect(scan.filter((repeats) => repeats !== undefined)).toHaveLength(600);
    now = 60_000;
    expect(throttle.repeatsOf(closed('192.0.2.1'))).toBe(4_400);
  });
});

describe('the access log', () => {
  function written(options: Partial<AccessLogOptions>, connections: readonly ClosedConnection[]): readonly string[] {
    const levels: string[] = [];
    const write = (level: string) => () => levels.push(level);
    const logger = { isLevelEnabled: () => true, info: write('info'), debug: write('debug') } as never;
    const log = accessLog(
      { logger, writeJson: undefined },
      { connected: false, repeated: false, quiet: [], ...options },
    );
    for (const each of connections) log.observe({ type: 'connection.closed', closed: each });
    return levels;
  }

  const thrice = Array.from({ length: 3 }, () => closed('10.1.2.3'));

  it('has every line where configured', () => {
    expect(written({ repeated: true }, thrice)).toEqual(['info', 'info', 'info']);
    expect(written({}, thrice)).toEqual(['info']);
  });

  it('suppresses configured health checkers only', () => {
    expect(written({ quiet: ['10.0.0.0/8'] }, [closed('10.1.2.3'), closed('192.0.2.1')])).toEqual(['debug', 'info']);
  });

  it('never suppresses a connection that dialled a backend', () => {
    const failed = { ...closed('10.1.2.3', 'DOWNSTREAM_RESET', 'lost'), attempts: 1 };
    expect(written({ quiet: ['10.0.0.0/8'] }, [failed, failed])).toEqual(['info', 'info']);
  });
});
