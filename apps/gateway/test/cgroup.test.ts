import { describe, expect, it } from 'vitest';
import { cgroupLimits } from '../src/run/cgroup.ts';

const MIB = 1024 * 1024;

/** Files of the system by path. */
type Files = Readonly<Record<string, string>>;

/** Version 2, in a container with its own cgroup namespace. */
const unified = (files: Files): Files => ({
  '/proc/self/cgroup': '0::/\n',
  ...Object.fromEntries(Object.entries(files).map(([name, text]) => [`/sys/fs/cgroup/${name}`, text])),
});

const CASES: readonly (readonly [claim: string, files: Files, limits: object])[] = [
  ['no control groups', {}, {}],
  ['a quota of one processor', unified({ 'cpu.max': '100000 100000\n' }), { cpus: 1 }],
  ['a quota of a quarter', unified({ 'cpu.max': '25000 100000\n' }), { cpus: 0.25 }],
  ['no quota', unified({ 'cpu.max': 'max 100000\n' }), {}],
  ['a memory limit', unified({ 'memory.max': `${100 * MIB}\n`, 'cpu.max': 'max 100000' }), { memoryBytes: 100 * MIB }],
  [
    'a lower limit at which memory is reclaimed',
    unified({ 'memory.max': `${100 * MIB}`, 'memory.high': `${80 * MIB}` }),
    { memoryBytes: 80 * MIB },
  ],
  ['no memory limit', unified({ 'memory.max': 'max\n', 'memory.high': 'max\n' }), {}],
  [
    'the smallest of a unit and the slices above it',
    {
      '/proc/self/cgroup': '0::/system.slice/meshgate.service\n',
      '/sys/fs/cgroup/system.slice/meshgate.service/cpu.max': '400000 100000\n',
      '/sys/fs/cgroup/system.slice/cpu.max': '150000 100000\n',
      '/sys/fs/cgroup/system.slice/meshgate.service/memory.max': `${512 * MIB}\n`,
      '/sys/fs/cgroup/system.slice/memory.max': 'max\n',
    },
    { cpus: 1.5, memoryBytes: 512 * MIB },
  ],
  [
    'version 1, controllers mounted together',
    {
      '/proc/self/cgroup': '4:cpu,cpuacct:/docker/4711\n3:memory:/docker/4711\n1:name=systemd:/docker/4711\n0::/\n',
      '/sys/fs/cgroup/cpu,cpuacct/docker/4711/cpu.cfs_quota_us': '50000\n',
      '/sys/fs/cgroup/cpu,cpuacct/docker/4711/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/memory/docker/4711/memory.limit_in_bytes': `${64 * MIB}\n`,
    },
    { cpus: 0.5, memoryBytes: 64 * MIB },
  ],
  [
    'version 1, controllers mounted one by one, seen from within a container',
    {
      '/proc/self/cgroup': '4:cpu:/docker/4711\n3:memory:/docker/4711\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '200000\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': `${256 * MIB}\n`,
    },
    { cpus: 2, memoryBytes: 256 * MIB },
  ],
  [
    'version 1 without limits',
    {
      '/proc/self/cgroup': '4:cpu,cpuacct:/\n3:memory:/\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
    },
    {},
  ],
  ['files that hold something else', unified({ 'cpu.max': 'nonsense', 'memory.max': '' }), {}],
];

describe('limits of control groups', () => {
  it.each(CASES)('are found with %s', (_claim, files, limits) => {
    expect(cgroupLimits((path) => files[path])).toEqual(limits);
  });
});
