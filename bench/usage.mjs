// Resource usage of processes, from Linux's /proc.
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { outputOf } from './processes.mjs';

const TICKS_PER_SECOND = Number(outputOf('getconf', ['CLK_TCK'])) || 100;

// proc(5): utime and stime, the 14th and 15th fields, counted from what follows the name.
const USER = 11;
const SYSTEM = 12;

/**
 * @typedef {object} CpuTime in seconds
 * @property {number} total exact
 * @property {number} user the kernel's estimate: it samples every hundredth of a second, so that only long sums are
 * meaningful
 * @property {number} system as `user`; for loopback this includes the kernel's work for the other end
 */

/**
 * CPU time that a process and its children have used so far, in all their threads.
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
 * @typedef {object} Usage at one time, to be compared with a later one
 * @property {CpuTime} own of the processes under measurement, and their children
 * @property {number} machine
 * @property {number} others
 * @property {number} atMs
 *
 * @typedef {object} Spent between two usages
 * @property {number} seconds elapsed
 * @property {number} own CPU seconds
 * @property {number} user of these; the division is the kernel's estimate
 * @property {number} system of these
 * @property {number} machine CPU seconds of the whole benchmark: generator, proxy, sinks, and the kernel on their
 * behalf
 * @property {number} othersShare of the machine that other programs used, from 0 to 1
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
  // The time of a process that has exited is lost.
  const others = Math.max(0, after.others - before.others);
  const machine = Math.max(0, after.machine - before.machine - others);
  const own = after.own.total - before.own.total;
  const [inUser, inSystem] = ['user', 'system'].map((key) => after.own[key] - before.own[key]);
  const user = inUser + inSystem === 0 ? 0 : (own * inUser) / (inUser + inSystem);
  const othersShare = others / (seconds * availableParallelism());
  return { seconds, own, user, system: own - user, machine, othersShare };
}

/** @returns {number} seconds, the sum of a field over all of `pids`; 0 for a process that has exited */
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

/** @returns {number} CPU time of a thread, in nanoseconds; 0 where the kernel does not record it (CONFIG_SCHED_INFO) */
function ranNs(thread) {
  return Number(readOr('0', `${thread}/schedstat`).split(' ')[0]);
}

/** CPU time that the whole machine has used so far, in seconds: kernel, interrupts and all programs. */
function machineCpuSeconds() {
  const [line] = readFileSync('/proc/stat', 'utf8').split('\n', 1);
  const [user, nice, system, , , irq, softirq] = line.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}

/**
 * CPU time that other programs have used so far, in seconds: all processes but this one and its descendants, including
 * their children that have exited.
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
 * Memory of a process and its children, in bytes: shared pages are divided among those that share them (PSS). Excludes
 * the kernel's memory for their sockets.
 *
 * @param {number} pid
 * @returns {number}
 */
export function memoryBytes(pid) {
  return tree(pid).reduce((sum, one) => sum + pssBytes(one), 0);
}

/** @returns {readonly number[]} `pid` and all its descendants */
function tree(pid) {
  const children = readOr('', `/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
  return [pid, ...children.flatMap(tree)];
}

/**
 * @returns {readonly string[]} the fields after the name, which may contain anything, including spaces and parentheses
 */
function statOf(pid) {
  const text = readOr('', `/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

function pssBytes(pid) {
  const [, kib] = /^Pss:\s+(\d+) kB$/m.exec(readOr('', `/proc/${pid}/smaps_rollup`)) ?? [];
  return Number(kib ?? 0) * 1024;
}

/** A process may exit meanwhile. */
function readOr(otherwise, path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}
