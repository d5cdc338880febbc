import { afterEach, expect, it, vi } from 'vitest';
import { ProxyError } from '../src/errors.ts';
import { LocalShortages } from '../src/pipeline/local-shortages.ts';

const connection = { id: '1', listener: 'l', remote: { host: '::1', port: 1 }, local: { host: '::1', port: 2 }, at: 0 };
const route = { name: 'r', serverNames: [], backends: [] };
const address = { host: '10.0.0.1', port: 1 };

afterEach(() => void vi.useRealTimers());

it('warns for a minute of a dial that failed for want of something local', () => {
  vi.useFakeTimers();
  const shortages = new LocalShortages();
  const error = new ProxyError('LOCAL_RESOURCE', 'dial 10.0.0.1:1: EMFILE, no file descriptor left');
  shortages.observe({ type: 'dial.failed', connection, route, address, error });
  expect(shortages.warnings).toEqual([`this machine ran short within the last minute: ${error.message}`]);
  vi.advanceTimersByTime(60_000);
  expect(shortages.warnings).toEqual([]);
});

it('says nothing of dials that failed for the fault of others', () => {
  const shortages = new LocalShortages();
  const error = new ProxyError('CONNECT_REFUSED', 'dial 10.0.0.1:1: ECONNREFUSED');
  shortages.observe({ type: 'dial.failed', connection, route, address, error });
  expect(shortages.warnings).toEqual([]);
});

it('warns of a listener for as long as it does not accept', () => {
  const shortages = new LocalShortages();
  shortages.observe({ type: 'listener.paused', listener: 'edge', reason: new Error('accept EMFILE') });
  expect(shortages.warnings).toEqual(['listener edge does not accept: accept EMFILE']);
  shortages.observe({ type: 'listener.resumed', listener: 'edge' });
  expect(shortages.warnings).toEqual([]);
});
