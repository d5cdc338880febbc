import { lstat, readlink } from 'node:fs/promises';
import { dirname, join, parse, resolve, sep } from 'node:path';
import { linksIn } from './files.ts';

/** One step on the path to a file: `name` in `folder`, which is a real folder, not a link. */
export interface WatchStep {
  /** Path of the folder, without links. */
  readonly folder: string;
  /** Distinguishes the folder from a replacement with the same path. */
  readonly id: string;
  /** Absent when every name in the folder matters. */
  readonly name?: string;
}

/**
 * Returns every directory entry on the path to `path`, in the kernel's lookup order. Resolves links itself, to include
 * the folder of each link. Ends at a missing name. When `path` is a folder, that folder is the last step.
 *
 * Watching these entries detects every kind of replacement of `path`: Kubernetes, for example, changes a mounted file
 * by replacing a link two steps before it.
 */
export async function watchPathOf(path: string): Promise<readonly WatchStep[]> {
  const { root } = parse(path);
  const walk: Walk = { folder: root, ahead: parts(path.slice(root.length)), links: 0 };
  const steps: WatchStep[] = [];
  for (let step: Walk | undefined = walk; step !== undefined; step = await advance(step)) {
    const id = await identityOf(step.folder);
    if (id === undefined) break;
    const name = step.ahead[0];
    steps.push(name === undefined ? { folder: step.folder, id } : { folder: step.folder, id, name });
  }
  return steps;
}

/** Returns {@link watchPathOf} a file or a folder; for a folder also of the {@link linksIn} it. */
export async function watchPathTo(path: string, endings: readonly string[]): Promise<readonly WatchStep[]> {
  const steps = await watchPathOf(path);
  const end = steps.at(-1);
  if (end === undefined || end.name !== undefined) return steps;
  const links = await linksIn(end.folder, endings).catch(() => []);
  return [...steps, ...(await Promise.all(links.map(watchPathOf))).flat()];
}

/** Progress of the walk along a path. */
interface Walk {
  /** The resolved prefix, without links. */
  readonly folder: string;
  /** Remaining components of the path. */
  readonly ahead: readonly string[];
  /** Number of links followed. */
  readonly links: number;
}

/** Linux's limit (path_resolution(7)). */
const MAX_LINKS = 40;

/** Takes one step. Returns `undefined` at the end of the path: no component left, a missing name, or a file. */
async function advance({ folder, ahead, links }: Walk): Promise<Walk | undefined> {
  const [name, ...rest] = ahead;
  if (name === undefined || links > MAX_LINKS) return undefined;
  if (name === '..') return { folder: dirname(folder), ahead: rest, links };
  const next = join(folder, name);
  const status = await lstat(next).catch(() => undefined);
  if (status?.isSymbolicLink()) return followLink({ folder, ahead: rest, links }, next);
  return status?.isDirectory() ? { folder: next, ahead: rest, links } : undefined;
}

async function followLink({ folder, ahead, links }: Walk, link: string): Promise<Walk | undefined> {
  const target = await readlink(link).catch(() => undefined);
  if (target === undefined) return undefined;
  const { root } = parse(target);
  return { folder: resolve(folder, root), ahead: [...parts(target.slice(root.length)), ...ahead], links: links + 1 };
}

function parts(path: string): readonly string[] {
  return path.split(sep).filter((part) => part !== '' && part !== '.');
}

/** Returns the identity of a folder. Includes the birth time, since some filesystems reuse inode numbers at once. */
async function identityOf(folder: string): Promise<string | undefined> {
  const status = await lstat(folder, { bigint: true }).catch(() => undefined);
  return status && `${status.dev}:${status.ino}:${status.birthtimeNs}`;
}
