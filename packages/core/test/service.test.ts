import { runInNewContext } from 'node:vm';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { pluginService } from '../src/lifecycle/plugin-service.ts';
import { inOrder } from '../src/lifecycle/service.ts';
import type { Service } from '../src/lifecycle/service.ts';

const { signal } = new AbortController();

function service(name: string, log: string[], failing: 'start' | 'stop' | 'nowhere' = 'nowhere'): Service {
  const step = (what: 'start' | 'stop') => (): Promise<void> => {
    log.push(`${what} ${name}`);
    return failing === what ? Promise.reject(new Error(`${name} cannot ${what}`)) : Promise.resolve();
  };
  return { name, start: step('start'), stop: step('stop') };
}

describe('services in order', () => {
  it('start in order and stop in reverse', async () => {
    const log: string[] = [];
    const all = inOrder('all', [service('a', log), service('b', log)]);
    await all.start(signal);
    await all.stop(signal);
    expect(log).toEqual(['start a', 'start b', 'stop b', 'stop a']);
  });

  it('are stopped again when a later one cannot start', async () => {
    const log: string[] = [];
    const all = inOrder('all', [service('a', log), service('b', log, 'start'), service('c', log)]);
    await expect(all.start(signal)).rejects.toThrow('b cannot start');
    expect(log).toEqual(['start a', 'start b', 'stop a']);
  });

  it('are stopped again when the signal aborts before all have started', async () => {
    const log: string[] = [];
    const forced = new AbortController();
    const slow: Service = {
      ...service('a', log),
      start: () => Promise.resolve(forced.abort(new Error('told to leave'))),
    };
    await expect(inOrder('all', [slow, service('b', log)]).start(forced.signal)).rejects.toThrow('told to leave');
    expect(log).toEqual(['stop a']);
  });

  it.each([
    ['within ten seconds', false, 10_000],
    ['within two seconds of an abort', true, 2_000],
  ])('that do not stop %s are named, and keep no other from stopping', async (_when, isForced, ms) => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const log: string[] = [];
    const stuck: Service = { ...service('stuck', log), stop: () => new Promise(() => undefined) };
    const all = inOrder('all', [service('a', log), stuck, service('b', log)]);
    await all.start(signal);
    const stopped = all.stop(isForced ? AbortSignal.abort() : signal).catch((reason: unknown) => reason);
    await vi.advanceTimersByTimeAsync(ms - 1);
    expect(log.slice(-1)).toEqual(['stop b']);
    await vi.advanceTimersByTimeAsync(1);
    expect(await stopped).toMatchObject({ errors: [{ message: 'stuck did not stop in time' }] });
    expect(log.slice(-2)).toEqual(['stop b', 'stop a']);
  });

  it.each<[what: string, given: unknown]>([
    ['nothing', undefined],
    ['a number', 5],
    ['a promise of another realm', (runInNewContext('Promise') as PromiseConstructor).resolve()],
  ])('may be plain JavaScript, and give %s in place of a promise', async (_what, given) => {
    const log: string[] = [];
    const give = (): Promise<void> => given as Promise<void>;
    const all = inOrder('all', [service('a', log), { name: 'plain', start: give, stop: give }, service('b', log)]);
    await all.start(signal);
    await all.stop(signal);
    expect(log).toEqual(['start a', 'start b', 'stop b', 'stop a']);
  });

  it('that never start keep nobody waiting once the signal has aborted, and are stopped when they have started', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const log: string[] = [];
    let begin: () => void = () => undefined;
    const stuck: Service = { ...service('stuck', log), start: () => new Promise((resolve) => (begin = resolve)) };
    const giveUp = new AbortController();
    const started = inOrder('all', [service('a', log), stuck, service('b', log)]).start(giveUp.signal);
    const failure = started.catch((reason: unknown) => reason);
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(log).toEqual(['start a']);
    giveUp.abort(new Error('told to leave'));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await failure).toMatchObject({
      message: 'stuck did not give up its start in time',
      cause: { message: 'told to leave' },
    });
    expect(log).toEqual(['start a', 'stop a']);
    begin();
    await vi.advanceTimersByTimeAsync(0);
    expect(log).toEqual(['start a', 'stop a', 'stop stuck']);
  });

  it('are all stopped although one of them cannot', async () => {
    const log: string[] = [];
    const all = inOrder('all', [service('a', log), service('b', log, 'stop')]);
    await all.start(signal);
    await expect(all.stop(signal)).rejects.toThrow('all: 1 services did not stop cleanly');
    expect(log).toEqual(['start a', 'start b', 'stop b', 'stop a']);
  });
});

describe('a service of a plugin', () => {
  it('that cannot start is named with its plugin', async () => {
    const broken = pluginService(service('ldap', [], 'start'), 'mine');
    await expect(broken.start(signal)).rejects.toThrow('service "ldap" of the plugin "mine": ldap cannot start');
  });

  it('that does not start in time is named, and stopped when it does start', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const log: string[] = [];
    let release = (): void => undefined;
    const settled = new Promise<void>((resolve) => (release = resolve));
    const slow = pluginService({ ...service('ldap', log), start: () => settled }, 'mine');
    const started = expect(slow.start(signal)).rejects.toThrow('did not start within 10 s');
    await vi.advanceTimersByTimeAsync(10_000);
    await started;
    release();
    await vi.advanceTimersByTimeAsync(0);
    expect(log).toEqual(['stop ldap']);
  });

  it('that ignores the signal when it starts is abandoned two seconds later', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const leaving = new AbortController();
    const stuck = pluginService({ ...service('ldap', []), start: () => new Promise(() => undefined) }, 'mine');
    const started = expect(stuck.start(leaving.signal)).rejects.toThrow('ldap');
    leaving.abort();
    await vi.advanceTimersByTimeAsync(2_000);
    await started;
  });
});
