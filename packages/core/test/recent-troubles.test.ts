import { afterEach, expect, it, vi } from 'vitest';
import { ProxyError } from '../src/errors.ts';
import { RecentTroubles } from '../src/pipeline/recent-troubles.ts';

const connection = { id: '1', listener: 'l', remote: { host: '::1', port: 1 }, local: { host: '::1', port: 2 }, at: 0 };
const route = { name: 'r', serverNames: [], backends: [] };
const address = { host: '10.0.0.1', port: 1 };

afterEach(() => void vi.useRealTimers());

it('warns for a minute about a dial that failed for a local shortage', () => {
  vi.useFakeTimers();
  const troubles = new RecentTroubles();
  const error = new ProxyError('LOCAL_RESOURCE', 'dial 10.0.0.1:1: EMFILE, no file descriptor left');
  troubles.observe({ type: 'dial.failed', connection, route, address, error });
  expect(troubles.warnings).toEqual([`this machine ran short within the last minute: ${error.message}`]);
  vi.advanceTimersByTime(60_000);
  expect(troubles.warnings).toEqual([]);
});

it('does not report dials that failed for other reasons', () => {
  const troubles = new RecentTroubles();
  const error = new ProxyError('CONNECT_REFUSED', 'dial 10.0.0.1:1: ECONNREFUSED');
  troubles.observe({ type: 'dial.failed', connection, route, address, error });
  expect(troubles.warnings).toEqual([]);
});

it('warns about a listener as long as it does not accept', () => {
  const troubles = new RecentTroubles();
  troubles.observe({ type: 'listener.paused', listener: 'edge', reason: new Error('accept EMFILE') });
  expect(troubles.warnings).toEqual(['listener edge does not accept: accept EMFILE']);
  troubles.observe({ type: 'listener.resumed', listener: 'edge' });
  expect(troubles.warnings).toEqual([]);
});

it('warns about a network that loses packets, and on which side', () => {
  const troubles = new RecentTroubles();
  const impaired = { type: 'path.impaired', problem: 'large-segments', address, reason: 'an MTU black hole' } as const;
  for (const side of ['upstream', 'downstream', 'upstream'] as const) troubles.observe({ ...impaired, side });
  expect(troubles.warnings).toEqual([
    'network path to backend 10.0.0.1:1 impaired within the last minute: an MTU black hole',
    'network path to client 10.0.0.1:1 impaired within the last minute: an MTU black hole',
  ]);
});

it('warns about an unresolvable name, and whether its last addresses are in use', () => {
  vi.useFakeTimers();
  const troubles = new RecentTroubles();
  const error = new Error('no response (name server 127.0.0.99)');
  troubles.observe({ type: 'resolution.failed', host: 'db.internal', error, lastGood: true });
  troubles.observe({ type: 'resolution.failed', host: 'api.internal', error, lastGood: false });
  expect(troubles.warnings).toEqual([
    `backend db.internal not resolved within the last minute, using its last addresses: ${error.message}`,
    `backend api.internal not resolved within the last minute, it has no address: ${error.message}`,
  ]);
  vi.advanceTimersByTime(60_001);
  expect(troubles.warnings).toEqual([]);
});
