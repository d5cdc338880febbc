import { closeSync, writeSync } from 'node:fs';
import { expect, it } from 'vitest';
import { EPOLLET, EPOLLIN, O_CLOEXEC, O_NONBLOCK } from '@meshgate/linux';
import { loadLibc } from '@meshgate/linux';
import type { Libc } from '@meshgate/linux';
import { descriptorsByKind, loopsIdle, until } from '@meshgate/testkit';
import { Loop } from '../src/loop.ts';
import { describeWithEpoll } from './available.ts';

interface TestPipe {
  readonly readEnd: number;
  readonly writeEnd: number;
}

function pipe(libc: Libc): TestPipe {
  const ends = libc.allocate(8);
  expect(libc.pipe2(ends.address, O_NONBLOCK | O_CLOEXEC)).toBe(0);
  const [readEnd = -1, writeEnd = -1] = ends.ints;
  return { readEnd, writeEnd };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describeWithEpoll('the loop', () => {
  it('never delivers an event of a closed descriptor to its successor', async () => {
    const libc = await loadLibc();
    const loop = new Loop(libc, () => undefined);
    const old = [pipe(libc), pipe(libc)];
    const misled: number[] = [];
    let successors: TestPipe | undefined;
    const mislead = (fd: number) => ({ onEvents: () => misled.push(fd), onDeadline: () => undefined });
    // Both are readable, so both events arrive in one batch; whichever is handled first replaces the other.
    for (const [index, { readEnd }] of old.entries()) {
      const other = old[1 - index]?.readEnd ?? -1;
      const onEvents = (): void => {
        if (successors !== undefined) throw new Error('expected no event for a closed descriptor');
        loop.close(other);
        successors = pipe(libc);
        expect(successors.readEnd).toBe(other);
        loop.add(successors.readEnd, EPOLLIN | EPOLLET, mislead(successors.readEnd));
        loop.close(readEnd);
      };
      loop.add(readEnd, EPOLLIN | EPOLLET, { onEvents, onDeadline: () => undefined });
    }
    for (const { writeEnd } of old) writeSync(writeEnd, 'x');
    await until(() => successors !== undefined);
    for (let turns = 0; turns < 5; turns += 1) await turn();
    expect(misled).toEqual([]);
    writeSync(successors?.writeEnd ?? -1, 'x');
    await until(() => misled.length === 1);
    loop.close(successors?.readEnd ?? -1);
    for (const { writeEnd } of [...old, ...(successors === undefined ? [] : [successors])]) closeSync(writeEnd);
  });

  it('lets timers and other tasks run beside one that always has more to do', async () => {
    const libc = await loadLibc();
    const loop = new Loop(libc, () => undefined);
    const { readEnd, writeEnd } = pipe(libc);
    loop.add(readEnd, EPOLLIN, { onEvents: () => undefined, onDeadline: () => undefined });
    let [shares, stop] = [0, false];
    const greedy = {
      run(): boolean {
        shares += 1;
        return !stop;
      },
    };
    loop.turns.enqueue(greedy);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const other = new Promise<void>((resolve) =>
      loop.turns.enqueue({
        run() {
          resolve();
          return false;
        },
      }),
    );
    await other;
    expect(shares).toBeGreaterThan(10);
    stop = true;
    loop.close(readEnd);
    closeSync(writeEnd);
  });

  it('serves those with more to do even when newcomers arrive all the time', async () => {
    const libc = await loadLibc();
    const loop = new Loop(libc, () => undefined);
    const { readEnd, writeEnd } = pipe(libc);
    loop.add(readEnd, EPOLLIN, { onEvents: () => undefined, onDeadline: () => undefined });
    let [shares, newcomers] = [0, 0];
    const busy = (): void => {
      const endsAt = performance.now() + 3;
      while (performance.now() < endsAt);
    };
    loop.turns.enqueue({
      run() {
        shares += 1;
        return shares < 20;
      },
    });
    const newcomer = {
      run(): boolean {
        newcomers += 1;
        busy();
        if (newcomers < 100 && shares < 20) loop.turns.enqueue(newcomer);
        return false;
      },
    };
    loop.turns.enqueue(newcomer);
    await until(() => shares === 20);
    expect(newcomers).toBeLessThan(100);
    loop.close(readEnd);
    closeSync(writeEnd);
  });

  it('reports a deadline once, and none of a descriptor that has been closed', async () => {
    const libc = await loadLibc();
    const loop = new Loop(libc, () => undefined);
    const [kept, closed] = [pipe(libc), pipe(libc)];
    const due: string[] = [];
    for (const [name, { readEnd }] of Object.entries({ kept, closed })) {
      loop.add(readEnd, EPOLLIN, { onEvents: () => undefined, onDeadline: () => due.push(name) });
      loop.turns.setDeadline(readEnd, 30);
    }
    loop.close(closed.readEnd);
    await until(() => due.length > 0);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(due).toEqual(['kept']);
    loop.close(kept.readEnd);
    for (const { writeEnd } of [kept, closed]) closeSync(writeEnd);
  });

  it('releases its own descriptors with the last one that it watches, and starts again with the next', async () => {
    const libc = await loadLibc();
    await loopsIdle();
    const before = descriptorsByKind()['anon_inode'] ?? 0;
    let rests = 0;
    const loop = new Loop(libc, () => {
      rests += 1;
    });
    for (let round = 1; round <= 2; round += 1) {
      const { readEnd, writeEnd } = pipe(libc);
      let events = 0;
      loop.add(readEnd, EPOLLIN | EPOLLET, {
        onEvents: () => {
          events += 1;
        },
        onDeadline: () => undefined,
      });
      writeSync(writeEnd, 'x');
      await until(() => events === 1);
      expect((descriptorsByKind()['anon_inode'] ?? 0) - before).toBe(1);
      loop.close(readEnd);
      closeSync(writeEnd);
      await until(() => rests === round);
      expect((descriptorsByKind()['anon_inode'] ?? 0) - before).toBe(0);
    }
  });
});
