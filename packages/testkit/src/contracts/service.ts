import type { Service } from '@meshgate/core';
import { describe, expect, it } from '../runner.ts';
import { within } from './deadline.ts';
import { leavesNothingBehind } from './resources.ts';

/**
 * Declares a suite that checks the contract of a service: it starts and stops, also when forced, drains in time, and
 * leaves nothing behind.
 *
 * @param create creates a service for each test, which must be able to start on this machine
 */
export function describeService(name: string, create: () => Service | Promise<Service>): void {
  describe(`${name}, as a service,`, () => {
    it('has a name', async () => {
      expect((await create()).name).not.toBe('');
    });

    it('starts, drains and stops, and leaves nothing behind', async () => {
      await leavesNothingBehind(async () => {
        const service = await create();
        await within(service.start(never()), PATIENCE_MS, `${name} to start`);
        await within(Promise.resolve(service.drain?.(never())), PATIENCE_MS, `${name} to drain`);
        await within(service.stop(never()), PATIENCE_MS, `${name} to stop`);
      });
    });

    it('stops within a second when forced', async () => {
      const service = await create();
      await service.start(never());
      await within(service.stop(AbortSignal.abort()), FORCED_MS, `${name} to stop when forced`);
    });

    it('ends its drain within a second when forced', async () => {
      const service = await create();
      await service.start(never());
      const draining = Promise.resolve(service.drain?.(AbortSignal.abort()));
      await within(
        draining.catch(() => undefined),
        FORCED_MS,
        `${name} to end its drain`,
      );
      await service.stop(AbortSignal.abort());
    });

    it('settles within a second when its start is aborted, and leaves nothing behind', async () => {
      await leavesNothingBehind(async () => {
        const service = await create();
        const started = service.start(AbortSignal.abort(new Error('give up'))).then(
          () => service.stop(AbortSignal.abort()),
          () => undefined,
        );
        await within(started, FORCED_MS, `${name} to settle`);
      });
    });
  });
}

const PATIENCE_MS = 5_000;
const FORCED_MS = 1_000;

function never(): AbortSignal {
  return new AbortController().signal;
}
