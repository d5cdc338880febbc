import { ProxyError } from '@meshgate/core';
import type { ClosedConnection } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { accessEntry, accessLog } from '../src/log/access-log.ts';

const connection = {
  id: '1z',
  listener: 'main',
  remote: { host: '2001:db8::9', port: 50123 },
  local: { host: '::1', port: 8443 },
  at: 1_000,
};
const hello = {
  protocol: 'tls',
  serverName: 'api.example.com',
  alpn: ['h2'],
  supportedVersions: [],
  ech: false,
  earlyData: false,
};
const route = { name: 'api', serverNames: ['api.example.com'], backends: [] };
const complete: ClosedConnection = {
  connection,
  hello,
  helloAt: 1_001.23456,
  route,
  attempts: 2,
  dialled: { host: '10.0.0.1', port: 443 },
  connectedAt: 1_011.5,
  transfer: { bytesUp: 517, bytesDown: 4_096, firstByteAt: 1_021.75 },
  closedAt: 1_500.0004,
};

describe('an entry of the access log', () => {
  it('has every fact of a connection that ended normally, with times in milliseconds to the microsecond', () => {
    expect(accessEntry(complete)).toEqual({
      id: '1z',
      listener: 'main',
      remote: '[2001:db8::9]:50123',
      serverName: 'api.example.com',
      alpn: ['h2'],
      route: 'api',
      backend: '10.0.0.1:443',
      attempts: 2,
      bytesUp: 517,
      bytesDown: 4_096,
      helloMs: 1.235,
      connectMs: 10.265,
      firstByteMs: 10.25,
      durationMs: 500,
    });
  });

  it('omits facts that the connection never reached, and has a code with its reason after a failure', () => {
    const error = new ProxyError('SNIFF_TIMEOUT', 'late');
    const closed = { connection, attempts: 0, transfer: { bytesUp: 0, bytesDown: 0, error }, closedAt: 11_000, error };
    expect(accessEntry(closed)).toEqual({
      id: '1z',
      listener: 'main',
      remote: '[2001:db8::9]:50123',
      attempts: 0,
      bytesUp: 0,
      bytesDown: 0,
      durationMs: 10_000,
      code: 'SNIFF_TIMEOUT',
      reason: 'late',
    });
  });

  it('is one readable sentence in the format for people', () => {
    const logged: string[] = [];
    const logger = { isLevelEnabled: () => true, info: (text: string) => logged.push(text) } as never;
    accessLog({ logger, writeJson: undefined }).observe({ type: 'connection.closed', closed: complete });
    expect(logged).toEqual(['[2001:db8::9]:50123 > api.example.com > api > 10.0.0.1:443 517 B up 4096 B down 500 ms']);
  });
});
