// What processes use, as Linux tells it in /proc.
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { ask } from './processes.mjs';

const TICKS_PER_SECOND = Number(ask('getconf', ['CLK_TCK'])) || 100;

// proc(5): utime and stime, the 14th and 15th fields, counted from what follows the name.
const USER = 11;
const SYSTEM = 12;

/**
 * @typedef {object} CpuTime in seconds
 * @property {number} total exact
 * @property {number} user the kernel's estimate: it looks every hundredth of a second at who is where, so that only long sums say much
 * @property {number} system as `user`; for loopback this includes what the kernel does for the other end
 */

/**
 * CPU time that a process and its children have used so far, all their threads together.
 *
 * @param {number} pid
 * @returns {CpuTime}
 */
export function cpuTime(pid) {
  const members = tree(pid);
  const [user, system] = [secondsOf(members, USER), secondsOf(members, SYSTEM)];
  const nanoseconds = members.flatMap(threadsOf).reduce((sum, thread) => sum + ranNs(thread), 0);
  return { user, system, total: nanoseconds > 0 ? nanoseconds / 1e9 : user + system };
}

/**
 * @typedef {object} Usage what everybody has used so far, to be compared with the same later
 * @property {CpuTime} own of the processes that are looked at, and their children
 * @property {number} machine
 * @property {number} others
 * @property {number} atMs
 *
 * @typedef {object} Spent between two usages
 * @property {number} seconds that have passed
 * @property {number} own CPU seconds
 * @property {number} user of these; how they divide is the kernel's estimate
 * @property {number} system of these
 * @property {number} machine CPU seconds of the benchmark, whoever of it used them: generator, proxy, sinks, and the kernel for them
 * @property {number} othersShare of the machine that others used, from 0 to 1
 */

/**
 * @param {readonly number[]} pids
 * @returns {Usage}
 */
export function usage(pids) {
  const times = pids.map(cpuTime);
  const sum = (key) => times.reduce((total, time) => total + time[key], 0);
  const own = { user: sum('user'), system: sum('system'), total: sum('total') };
  return { own, machine: machineCpuSeconds(), others: othersCpuSeconds(), atMs: performance.now() };
}

/**
 * @param {Usage} before
 * @param {Usage} after
 * @returns {Spent}
 */
export function spentBetween(before, after) {
  const seconds = (after.atMs - before.atMs) / 1e3;
  // A process that ends unseen takes its time with it.
  const others = Math.max(0, after.others - before.others);
  const machine = Math.max(0, after.machine - before.machine - others);
  const own = after.own.total - before.own.total;
  const [inUser, inSystem] = ['user', 'system'].map((key) => after.own[key] - before.own[key]);
  const user = inUser + inSystem === 0 ? 0 : (own * inUser) / (inUser + inSystem);
  const othersShare = others / (seconds * availableParallelism());
  return { seconds, own, user, system: own - user, machine, othersShare };
}

/** @returns {number} seconds of a field of all of `pids`; whoever is gone has none */
function secondsOf(pids, field) {
  return pids.reduce((sum, pid) => sum + Number(statOf(pid)[field] ?? 0), 0) / TICKS_PER_SECOND;
}

/** @returns {readonly string[]} the folders of a process's threads */
function threadsOf(pid) {
  const tasks = `/proc/${pid}/task`;
  try {
    return readdirSync(tasks).map((thread) => `${tasks}/${thread}`);
  } catch {
    return [];
  }
}

/** @returns {number} what a thread ran, in nanoseconds; 0 where the kernel keeps no account of it (CONFIG_SCHED_INFO) */
function ranNs(thread) {
  return Number(readOr('0', `${thread}/schedstat`).split(' ')[0]);
}

/** CPU time that the whole machine has used so far, in seconds: kernel, interrupts and everybody's programs. */
function machineCpuSeconds() {
  const [line] = readFileSync('/proc/stat', 'utf8').split('\n', 1);
  const [user, nice, system, , , irq, softirq] = line.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}

/**
 * CPU time that has been used so far by whoever does not belong to this benchmark, in seconds: processes that were neither
 * started by this one nor are it, with those of their children that have ended.
 */
function othersCpuSeconds() {
  const ours = new Set(tree(process.pid));
  const others = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && !ours.has(Number(name)));
  // proc(5): the times of waited-for children follow the process's own.
  const ticks = others.map((pid) =>
    statOf(pid)
      .slice(11, 15)
      .reduce((sum, field) => sum + Number(field), 0),
  );
  return ticks.reduce((sum, one) => sum + one, 0) / TICKS_PER_SECOND;
}

/**
 * Memory of a process and its children, in bytes: what they share is divided among those who share it (PSS). What the kernel
 * holds for their sockets is not in it.
 *
 * @param {number} pid
 * @returns {number}
 */
export function memoryBytes(pid) {
  return tree(pid).reduce((sum, one) => sum + pssBytes(one), 0);
}

/** @returns {readonly number[]} `pid` and all that come from it */
function tree(pid) {
  const children = readOr('', `/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
  return [pid, ...children.flatMap(tree)];
}

/** @returns {readonly string[]} the fields after the name, which may hold anything, blanks and brackets too */
function statOf(pid) {
  const text = readOr('', `/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

function pssBytes(pid) {
  const [, kib] = /^Pss:\s+(\d+) kB$/m.exec(readOr('', `/proc/${pid}/smaps_rollup`)) ?? [];
  return Number(kib ?? 0) * 1024;
}

/** A process may end while it is being looked at. */
function readOr(otherwise, path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}
