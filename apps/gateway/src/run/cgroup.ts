/** Limits of a process's control groups, cgroups(7); absent when not set. */
export interface CgroupLimits {
  /** Number of processors, possibly a fraction. */
  readonly cpus?: number;
  readonly memoryBytes?: number;
}

/**
 * Returns the smallest limits among this process's control groups and all their parents, of version 1 and 2. Parents
 * outside a container are not visible.
 *
 * @param read returns the contents of a file; `undefined` when it does not exist
 */
export function cgroupLimits(read: (path: string) => string | undefined): CgroupLimits {
  const memberships = (read('/proc/self/cgroup') ?? '').split('\n').flatMap(membership);
  const limits = memberships.flatMap(({ controllers, path }) =>
    controllers === '' ? unifiedLimits(path, read) : legacyLimits(controllers.split(','), path, read),
  );
  const smallest = (values: readonly (number | undefined)[]): number =>
    Math.min(...values.map((value) => value ?? Infinity));
  const cpus = smallest(limits.map((limit) => limit.cpus));
  const memoryBytes = smallest(limits.map((limit) => limit.memoryBytes));
  return {
    ...(Number.isFinite(cpus) && { cpus }),
    ...(Number.isFinite(memoryBytes) && { memoryBytes }),
  };
}

type Read = Parameters<typeof cgroupLimits>[0];

interface Membership {
  /** Comma-separated controllers of version 1; empty for version 2. */
  readonly controllers: string;
  readonly path: string;
}

/** Parses a line of `/proc/self/cgroup`: `4:cpu,cpuacct:/docker/4711`, `0::/system.slice/meshgate.service`. */
function membership(line: string): readonly Membership[] {
  const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
  return controllers === undefined || path === undefined ? [] : [{ controllers, path }];
}

function unifiedLimits(path: string, read: Read): readonly CgroupLimits[] {
  return groupsAbove(path).flatMap((group) => {
    const folder = `/sys/fs/cgroup${group}`;
    const [quota, period] = (read(`${folder}/cpu.max`) ?? '').trim().split(' ');
    const memory = [read(`${folder}/memory.max`), read(`${folder}/memory.high`)];
    return [limitsOf(ratio(quota, period)), ...memory.map((text) => limitsOf(undefined, positive(text)))];
  });
}

function legacyLimits(controllers: readonly string[], path: string, read: Read): readonly CgroupLimits[] {
  const mounts = [...controllers, controllers.join(',')];
  return mounts.flatMap((mount) =>
    groupsAbove(path).map((group) => {
      const folder = `/sys/fs/cgroup/${mount}${group}`;
      const cpus = controllers.includes('cpu')
        ? ratio(read(`${folder}/cpu.cfs_quota_us`), read(`${folder}/cpu.cfs_period_us`))
        : undefined;
      const memory = controllers.includes('memory') ? read(`${folder}/memory.limit_in_bytes`) : undefined;
      return limitsOf(cpus, positive(memory));
    }),
  );
}

/**
 * Returns `/a/b`, `/a` and the root. In a container, the root is often the process's own group, whatever its path
 * outside.
 */
function groupsAbove(path: string): readonly string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return parts.map((_, index) => `/${parts.slice(0, parts.length - index).join('/')}`).concat('');
}

function limitsOf(cpus: number | undefined, memoryBytes?: number): CgroupLimits {
  return { ...(cpus !== undefined && { cpus }), ...(memoryBytes !== undefined && { memoryBytes }) };
}

/** Returns `undefined` for `max` and -1, which mean no limit. */
function ratio(quota: string | undefined, period: string | undefined): number | undefined {
  const [share, total] = [positive(quota), positive(period)];
  return share === undefined || total === undefined ? undefined : share / total;
}

function positive(text: string | undefined): number | undefined {
  const value = Number(text?.trim() ?? NaN);
  return value > 0 && value < UNLIMITED ? value : undefined;
}

/** In version 1, "no limit" is the largest multiple of a page. */
const UNLIMITED = 2 ** 62;
