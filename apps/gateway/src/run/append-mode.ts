import { fstatSync } from 'node:fs';
import { openFlags } from '../log/log-writer.ts';

/**
 * Makes everybody who writes to the file behind `fd` append. After `> log 2>&1` the log appends through a descriptor of its own,
 * while standard error, and the shell that started the process, would continue at their own position and overwrite its lines.
 * Without the required system call everything stays as it is.
 */
export async function appendTogether(fd: number): Promise<void> {
  try {
    if (process.platform !== 'linux' || !fstatSync(fd, { bigint: true }).isFile() || doesAppend(fd)) return;
    const { appendAlways, loadLibc } = await import('@meshgate/linux');
    appendAlways(await loadLibc(), fd);
  } catch {
    // Lines of the log itself are still complete.
  }
}

/** Whether it has been opened for appending, as by `>> log`. */
function doesAppend(fd: number): boolean {
  return (openFlags(fd) & O_APPEND) !== 0;
}

const O_APPEND = 0o2000;
