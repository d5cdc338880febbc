import { pino } from 'pino';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { watchStalls } from '../src/run/stalls.ts';

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/**
 * The log of a process, checked every second, that is blocked for `awayMs` once, and uses the CPU for `cpuMs`
 * meanwhile.
 */
function loggedAfter({ awayMs, cpuMs }: { readonly awayMs: number; readonly cpuMs: number }): readonly string[] {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  let cpu = { user: 0, system: 0 };
  vi.spyOn(process, 'cpuUsage').mockImplementation((before) => ({ ...cpu, user: cpu.user - (before?.user ?? 0) }));
  const lines: string[] = [];
  const stop = watchStalls(pino({ base: null }, { write: (line: string) => void lines.push(line) }));
  vi.advanceTimersByTime(3_000);
  const now = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => now() + awayMs);
  cpu = { user: cpuMs * 1_000, system: 0 };
  vi.advanceTimersByTime(3_000);
  stop();
  return lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
}

describe('a process that stalls', () => {
  it.each([
    [{ awayMs: 20_000, cpuMs: 3 }, ['process stalled for 20 s: stopped, suspended or without CPU']],
    [{ awayMs: 6_000, cpuMs: 5_900 }, ['process stalled for 6 s: busy with its own work']],
    [{ awayMs: 1_000, cpuMs: 1_000 }, []],
  ])('logs once how long and why: %j', (stall, messages) => {
    expect(loggedAfter(stall)).toEqual(messages);
  });
});
