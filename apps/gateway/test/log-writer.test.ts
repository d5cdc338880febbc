import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, readSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { LogWriter, ownDescriptor } from '../src/log/log-writer.ts';
import type { LogWriterOptions } from '../src/log/log-writer.ts';
import { folder } from './daemon.ts';

/** Longer than any of these takes. */
const PATIENCE_MS = 10_000;
const LINE = `${'x'.repeat(1_023)}\n`;
/** More of {@link LINE} than a writer buffers. */
const TOO_MANY = 10_000;

/**
 * A writer, and what it has reported. Its descriptor stays open until the process ends: a writer with lines left tries
 * again each second, and would write them to whatever the number stands for next.
 */
function writerTo(fd: number, options: Partial<LogWriterOptions> = {}) {
  const recovered = deferred();
  const failed = deferred();
  const writer: LogWriter = new LogWriter({
    fd,
    onRecovered: (dropped, reason) => {
      writer.write(`${dropped} dropped: ${reason}\n`);
      recovered.resolve(`${dropped} dropped: ${reason}\n`);
    },
    onTrouble: () => {
      if (writer.health.trouble !== undefined) failed.resolve(writer.health.trouble);
    },
    ...options,
  });
  return { writer, recovered: recovered.promise, failed: failed.promise };
}

function deferred(): { readonly promise: Promise<string>; readonly resolve: (value: string) => void } {
  let resolve: (value: string) => void = () => undefined;
  const promise = new Promise<string>((resolveIt) => (resolve = resolveIt));
  return { promise, resolve };
}

async function fifo(): Promise<{ readonly path: string; openReader(): number; writeEnd(): number }> {
  const files = await folder();
  onTestFinished(() => files[Symbol.asyncDispose]());
  const path = join(files.path, 'log');
  execFileSync('mkfifo', [path]);
  return {
    path,
    openReader: () => openSync(path, constants.O_RDONLY | constants.O_NONBLOCK),
    writeEnd: () => ownDescriptor(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)),
  };
}

/** The current content of the pipe. */
function drained(fd: number): string {
  const buffer = Buffer.alloc(1024 * 1024);
  let text = '';
  for (;;) {
    try {
      const bytes = readSync(fd, buffer);
      if (bytes === 0) return text;
      text += buffer.subarray(0, bytes).toString();
    } catch {
      return text;
    }
  }
}

/** Reads until `end`, which `writer` writes last. */
async function readUntil(end: RegExp, fd: number, writer: LogWriter): Promise<string> {
  let text = '';
  while (!end.test(text)) {
    await writer.flush(5);
    await nextTurn();
    text += drained(fd);
  }
  return text;
}

describe('a log writer', () => {
  it('writes lines to a file in their order', async () => {
    await using files = await folder();
    const path = join(files.path, 'log');
    const fd = openSync(path, 'a');
    const { writer } = writerTo(fd);
    const lines = Array.from({ length: 5_000 }, (_, index) => `line ${index} é\n`);
    for (const line of lines) writer.write(line);
    await writer.flush(PATIENCE_MS);
    expect(readFileSync(path, 'utf8')).toBe(lines.join(''));
    expect(writer.health).toEqual({ dropped: 0 });
  });

  it.runIf(process.platform === 'linux')('goes on at the start of a file that was truncated', async () => {
    await using files = await folder();
    const path = join(files.path, 'log');
    const { writer } = writerTo(ownDescriptor(openSync(path, 'w')));
    writer.write('before\n');
    await writer.flush(PATIENCE_MS);
    truncateSync(path);
    writer.write('after\n');
    await writer.flush(PATIENCE_MS);
    expect(readFileSync(path, 'utf8')).toBe('after\n');
  });

  it.runIf(process.platform === 'linux')('leaves a file alone that is not open for writing', async () => {
    await using files = await folder();
    const path = await files.write('settings', 'kept\n');
    const { writer, failed } = writerTo(ownDescriptor(openSync(path, 'r')));
    writer.write(LINE);
    expect(await failed).toContain('EBADF');
    expect(readFileSync(path, 'utf8')).toBe('kept\n');
  });

  it.runIf(process.platform === 'linux')('reports a full disk and keeps a bounded number of lines', async () => {
    const { writer, failed } = writerTo(openSync('/dev/full', 'w'));
    for (let index = 0; index < TOO_MANY; index += 1) writer.write(LINE);
    expect(await failed).toMatch(/ENOSPC|too slow/);
    await writer.flush(PATIENCE_MS);
    const { dropped, trouble } = writer.health;
    expect(trouble).toContain('ENOSPC');
    expect(dropped).toBeGreaterThan(TOO_MANY / 2);
    expect(dropped).toBeLessThan(TOO_MANY);
  });

  it('resolves a flush at once when the descriptor fails', async () => {
    const pipe = await fifo();
    const reader = pipe.openReader();
    const { writer, failed } = writerTo(pipe.writeEnd());
    closeSync(reader);
    writer.write(LINE);
    expect(await failed).toContain('EPIPE');
    await writer.flush(24 * 60 * 60 * 1_000);
    expect(writer.health).toMatchObject({ dropped: 0 });
  });

  it('drops lines while the reader of a pipe has stalled, and afterwards reports how many in their place', async () => {
    const pipe = await fifo();
    const reader = pipe.openReader();
    onTestFinished(() => closeSync(reader));
    const { writer, recovered } = writerTo(pipe.writeEnd());
    for (let index = 0; index < TOO_MANY; index += 1) writer.write(LINE);
    const { dropped, trouble } = writer.health;
    expect(trouble).toBe('the reader is too slow');
    const text = await readUntil(/dropped: .*\n$/, reader, writer);
    expect(await recovered).toBe(`${dropped} dropped: the reader is too slow\n`);
    expect(text).toBe(`${LINE.repeat(TOO_MANY - dropped)}${await recovered}`);
    writer.write('next\n');
    expect(await readUntil(/\n$/, reader, writer)).toBe('next\n');
    expect(writer.health).toEqual({ dropped });
  });

  it('writes its buffer to a reader that opens the FIFO after the first one has closed', async () => {
    const pipe = await fifo();
    const first = pipe.openReader();
    const { writer, failed } = writerTo(pipe.writeEnd());
    // More than a pipe holds: the kernel accepts a part, which may end within a line.
    const lines = Array.from({ length: 400 }, (_, index) => `${index} ${LINE}`);
    for (const line of lines) writer.write(line);
    const before = await readUntil(/\n/, first, writer);
    await writer.flush(5);
    closeSync(first);
    expect(await failed).toContain('EPIPE');
    const second = pipe.openReader();
    onTestFinished(() => closeSync(second));
    expect(before + (await readUntil(/\n399 x+\n$/, second, writer))).toBe(lines.join(''));
    expect(writer.health).toEqual({ dropped: 0 });
  });

  it('never splits a line that is shorter than the maximum write', async () => {
    const pipe = await fifo();
    const reader = pipe.openReader();
    onTestFinished(() => closeSync(reader));
    const { writer } = writerTo(pipe.writeEnd(), { maxWriteBytes: 4096 });
    const line = `${'y'.repeat(1_499)}\n`;
    for (let index = 0; index < 200; index += 1) writer.write(line);
    // A write of at most PIPE_BUF is atomic, pipe(7).
    await writer.flush(50);
    expect(drained(reader).length % line.length).toBe(0);
  });
});
