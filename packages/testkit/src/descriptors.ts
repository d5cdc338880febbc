import { readdirSync, readlinkSync } from 'node:fs';

/** Returns the number of open descriptors of this process by kind: `pipe`, `socket`, `anon_inode` … */
export function descriptorsByKind(): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const fd of readdirSync('/proc/self/fd')) {
    const kind = kindOf(fd);
    if (kind !== undefined) counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

function kindOf(fd: string): string | undefined {
  try {
    const target = readlinkSync(`/proc/self/fd/${fd}`);
    return target.startsWith('/') ? 'file' : target.slice(0, target.indexOf(':'));
  } catch {
    // The descriptor that listed the folder is closed by now.
    return undefined;
  }
}
