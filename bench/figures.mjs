// What is measured: the loads, the figures of each, and the goals.

/**
 * @typedef {object} Load for one proxy at a time
 * @property {string} id
 * @property {readonly Stream[]} streams each from its own generator
 *
 * @typedef {object} Stream
 * @property {string} backend the sink of its connections: reply, discard, source or echo
 * @property {readonly string[]} args for the generator
 */

const SMALL_MESSAGE = 64;
const MESSAGE = 1024;
const LARGE_MESSAGE = 16 * 1024;

/** @type {readonly Load[]} */
export const LOADS = [
  { id: 'rate', streams: [stream('rate', 'reply', 64)] },
  ...[1, 8, 64].flatMap((count) => [
    { id: `down-${count}`, streams: [stream('down', 'source', count)] },
    { id: `up-${count}`, streams: [stream('up', 'discard', count)] },
  ]),
  ...[SMALL_MESSAGE, MESSAGE, LARGE_MESSAGE].map((bytes) => ({ id: `pingpong-${bytes}`, streams: [messages(bytes)] })),
  { id: 'mixed', streams: [messages(MESSAGE), stream('down', 'source', 8)] },
];

/** Numbers of idle connections at which memory is read; the first is the proxy without any. */
export const IDLE_STEPS = [0, 1_000, 8_000];

/**
 * @typedef {object} Figure one number from a load
 * @property {string} id
 * @property {string} load
 * @property {string} key in the samples of that load
 * @property {string} title
 * @property {string} unit
 * @property {'more' | 'less'} better
 * @property {number} digits after the decimal point
 * @property {boolean} [plotted] has a panel of its own in the picture
 */

/** @type {readonly Figure[]} */
export const FIGURES = [
  figure('rate', 'perSecond', 'Connections a second', '/s', 'more', 0, { plotted: true }),
  figure('rate', 'p50Ms', 'Connection: p50', 'ms', 'less', 2),
  figure('rate', 'p99Ms', 'Connection: p99', 'ms', 'less', 2, { plotted: true }),
  figure('rate', 'p999Ms', 'Connection: p99.9', 'ms', 'less', 2),
  ...cpu('rate', 'a connection'),
  ...[1, 8, 64].flatMap((streams) => [
    ...bulk('down', streams, `Bulk down, ${streams} ${streams === 1 ? 'stream' : 'streams'}`),
    ...bulk('up', streams, `Bulk up, ${streams} ${streams === 1 ? 'stream' : 'streams'}`),
  ]),
  ...pingpong(SMALL_MESSAGE, '64 B'),
  ...pingpong(MESSAGE, '1 KiB', true),
  ...pingpong(LARGE_MESSAGE, '16 KiB'),
  figure('mixed', 'p99Ms', 'Ping-pongs beside bulk: p99', 'ms', 'less', 2, { plotted: true }),
  figure('mixed', 'perSecond', 'Ping-pongs a second beside bulk', '/s', 'more', 0),
  figure('mixed', 'gigabytesPerSecond', 'Bulk beside ping-pongs', 'GB/s', 'more', 2),
  figure('idle', 'mibAtStart', 'Memory at start', 'MiB', 'less', 1),
  figure('idle', 'mib0', 'Memory with no connection', 'MiB', 'less', 1),
  figure('idle', 'mib1000', 'Memory with 1,000 idle connections', 'MiB', 'less', 1),
  figure('idle', 'mib8000', 'Memory with 8,000 idle connections', 'MiB', 'less', 1),
  figure('idle', 'bytesPerConnection', 'Memory an idle connection', 'B', 'less', 0, { plotted: true }),
];

/**
 * @typedef {object} Goal
 * @property {string} figure
 * @property {string} ours id of the contestant to which it applies
 * @property {string} against id of a contestant, or `peer`: the best peer in its usual configuration
 * @property {number} bound of the ratio of ours to theirs: the minimum, or the maximum where less is better
 */

/** @type {readonly Goal[]} */
export const GOALS = [
  goal('rate.perSecond', 'core-uring', 'peer', 1.1),
  goal('rate.perSecond', 'gateway-uring', 'peer', 1),
  goal('rate.perSecond', 'gateway-epoll', 'peer', 0.9),
  // HAProxy takes 15 to 20 µs; the limit is 22 for the core, and 30 for the daemon.
  goal('rate.userMicroseconds', 'core-uring', 'haproxy', 1.25),
  goal('rate.userMicroseconds', 'gateway-uring', 'haproxy', 1.7),
  goal('rate.cpuMicroseconds', 'gateway-uring', 'core-uring', 1.15),
  goal('pingpong-1024.perSecond', 'gateway-uring', 'peer', 1.25),
  goal('pingpong-1024.p99Ms', 'gateway-uring', 'peer', 0.8),
  goal('pingpong-1024.machineMicroseconds', 'gateway-uring', 'peer', 0.9),
  ...['down-8', 'up-8'].flatMap((load) => [
    goal(`${load}.gigabytesPerSecond`, 'gateway-uring', 'haproxy-splice', 1.1),
    goal(`${load}.machineSecondsPerGigabyte`, 'gateway-uring', 'haproxy-splice', 1),
  ]),
  goal('idle.bytesPerConnection', 'core-uring', 'haproxy', 0.8),
  goal('idle.mibAtStart', 'gateway-uring', 'envoy', 1),
  ...['rate', 'down-8', 'up-8'].map((load) =>
    goal(`${load}.${load === 'rate' ? 'perSecond' : 'gigabytesPerSecond'}`, 'core-node', 'bare', 1),
  ),
];

/** The gateway that is loaded while its routes are replaced: maximum ratio of its p99 to that without changes. */
export const RELOAD_GOAL = { ours: 'gateway-uring', bound: 1.5 };

/** Minimum throughput of several workers, relative to the limit of the machine. */
export const SHARING_GOAL = { ours: 'gateway-uring-2w', bound: 0.9 };

/** Loads that are needed to judge the goals. */
export const GOAL_LOADS = [...new Set(GOALS.map(({ figure: id }) => loadOf(id))), 'reload'];

/**
 * The loads of a contestant that the goals need.
 *
 * @param {{ readonly id: string, readonly family: string }} contestant
 * @returns {readonly string[]}
 */
export function goalLoads({ id, family }) {
  const ofGoals = GOALS.filter(
    ({ ours, against }) => [ours, against].includes(id) || (against === 'peer' && family === 'peer'),
  );
  return [
    ...new Set(ofGoals.map(({ figure: wanted }) => loadOf(wanted))),
    ...(id === RELOAD_GOAL.ours ? ['reload'] : []),
    ...(id === SHARING_GOAL.ours || SHARING_GOAL.ours.startsWith(`${id}-`) ? SHARED_FIGURES.map(loadOf) : []),
  ];
}

function loadOf(id) {
  return id.split('.')[0];
}

/** @returns {Goal} */
function goal(id, ours, against, bound) {
  return { figure: id, ours, against, bound };
}

/** Figures of several workers: their ratio to one. */
export const SHARED_FIGURES = ['rate.perSecond', 'pingpong-1024.perSecond', 'down-8.gigabytesPerSecond'];

/** @returns {Stream} */
function stream(mode, backend, connections, more = []) {
  return { backend, args: ['--mode', mode, '--connections', `${connections}`, ...more] };
}

/** @returns {Stream} 64 connections that play ping-pong */
function messages(bytes) {
  return stream('pingpong', 'echo', 64, ['--message-bytes', `${bytes}`]);
}

/** @returns {readonly Figure[]} */
function bulk(direction, streams, title) {
  const load = `${direction}-${streams}`;
  const plotted = streams === 8;
  return [
    figure(load, 'gigabytesPerSecond', title, 'GB/s', 'more', 2, { plotted }),
    figure(load, 'cpuSecondsPerGigabyte', `${title}: CPU of the proxy`, 's/GB', 'less', 2),
    figure(load, 'machineSecondsPerGigabyte', `${title}: CPU of the machine`, 's/GB', 'less', 2, { plotted }),
  ];
}

/** @returns {readonly Figure[]} */
function pingpong(bytes, size, plotted = false) {
  const load = `pingpong-${bytes}`;
  return [
    figure(load, 'perSecond', `Ping-pongs of ${size} a second`, '/s', 'more', 0, { plotted }),
    figure(load, 'p50Ms', `Ping-pong of ${size}: p50`, 'ms', 'less', 2),
    figure(load, 'p99Ms', `Ping-pong of ${size}: p99`, 'ms', 'less', 2, { plotted }),
    figure(load, 'p999Ms', `Ping-pong of ${size}: p99.9`, 'ms', 'less', 2),
    ...cpu(load, `a ping-pong of ${size}`),
  ];
}

/** @returns {readonly Figure[]} */
function cpu(load, unit) {
  return [
    figure(load, 'cpuMicroseconds', `CPU ${unit}, proxy`, 'µs', 'less', 1),
    figure(load, 'userMicroseconds', `CPU ${unit}, proxy, user`, 'µs', 'less', 1),
    figure(load, 'systemMicroseconds', `CPU ${unit}, proxy, system`, 'µs', 'less', 1),
    figure(load, 'machineMicroseconds', `CPU ${unit}, machine`, 'µs', 'less', 1),
  ];
}

/**
 * @param {string} load
 * @param {string} key
 * @param {string} title
 * @param {string} unit
 * @param {'more' | 'less'} better
 * @param {number} digits
 * @param {{ readonly plotted?: boolean }} [more]
 * @returns {Figure}
 */
export function figure(load, key, title, unit, better, digits, { plotted = false } = {}) {
  return { id: `${load}.${key}`, load, key, title, unit, better, digits, plotted };
}
