import { readFile } from 'node:fs/promises';

/**
 * Sees to it that a crash leaves no core dump of this process and its workers: it would hold the key of a sidecar, and tokens.
 *
 * @returns why there may be one all the same; `undefined` when there will be none
 */
export async function forbidCoreDumps(): Promise<string | undefined> {
  if (process.platform !== 'linux' || !(await areAllowed())) return undefined;
  try {
    // Loaded only then: where systemd or a distribution has set the limit already, it takes no system call.
    const { forbidCoreDumps: forbid, loadLibc } = await import('@meshgate/linux');
    forbid(await loadLibc());
    return undefined;
  } catch (reason) {
    return reason instanceof Error ? reason.message : String(reason);
  }
}

async function areAllowed(): Promise<boolean> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  return !/^Max core file size\s+0\s/m.test(limits);
}
