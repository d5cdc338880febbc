import { readFile } from 'node:fs/promises';

/**
 * Disables core dumps of this process and its workers, which would contain a sidecar's private key, and tokens.
 *
 * @returns why a core dump remains possible; `undefined` when it does not
 */
export async function forbidCoreDumps(): Promise<string | undefined> {
  if (process.platform !== 'linux' || !(await areAllowed())) return undefined;
  try {
    // Loaded on demand: where systemd or a distribution has already set the limit, no system call is needed.
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
