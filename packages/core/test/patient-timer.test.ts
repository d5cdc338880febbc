import { describe, expect, it } from 'vitest';
import { PatientTimer } from '../src/watch/patient-timer.ts';

/** Blocks this thread, as SIGSTOP would. */
function stopFor(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

describe('a patient timer', () => {
  it('that fires in time does not wait once more', async () => {
    const began = performance.now();
    await new Promise<void>((resolve) => new PatientTimer(resolve, true).set(20));
    expect(performance.now() - began).toBeGreaterThanOrEqual(19);
  });

  it('lets everything go first that became due while the process was stopped', async () => {
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      new PatientTimer(() => resolve(void order.push('deadline')), true).set(10);
      setTimeout(() => setImmediate(() => order.push('data')), 20);
      stopFor(800);
    });
    expect(order).toEqual(['data', 'deadline']);
  });

  it('waits only once more, even if the process is stopped again meanwhile', async () => {
    await new Promise<void>((resolve) => {
      new PatientTimer(resolve, true).set(10);
      stopFor(600);
      setTimeout(() => stopFor(700), 50);
    });
  });

  it('does not fire once it is cleared, even after a late call', async () => {
    const timer = new PatientTimer(() => expect.unreachable(), true);
    timer.set(10);
    stopFor(600);
    await new Promise((resolve) => setTimeout(resolve, 5));
    timer.clear();
    await new Promise((resolve) => setTimeout(resolve, 200));
  });
});
