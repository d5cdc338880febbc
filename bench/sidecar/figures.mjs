// What is measured for the paths between two applications.
import { figure } from '../figures.mjs';

const MESSAGE_BYTES = 1024;

/** Shaped as contestants: ratios are relative to the `peer`. */
export const PATHS = [
  { id: 'direct', label: 'direct mutual TLS', family: 'peer', version: process.version },
  { id: 'pair', label: 'two sidecars', family: 'ours', transport: 'node', workers: 1, version: process.version },
  {
    id: 'gateways',
    label: 'sidecars, gateways',
    family: 'ours',
    transport: 'epoll',
    workers: 1,
    version: process.version,
  },
];

/**
 * @typedef {object} PathLoad
 * @property {string} id
 * @property {'latency' | 'rate' | 'down' | 'up'} mode of the client
 * @property {number} connections
 * @property {number} messageBytes
 */

/** @type {readonly PathLoad[]} */
export const PATH_LOADS = [
  { id: 'way-latency', mode: 'latency', connections: 1, messageBytes: MESSAGE_BYTES },
  { id: 'way-messages', mode: 'latency', connections: 64, messageBytes: MESSAGE_BYTES },
  { id: 'way-rate', mode: 'rate', connections: 16, messageBytes: MESSAGE_BYTES },
  { id: 'way-down', mode: 'down', connections: 8, messageBytes: 1 },
  { id: 'way-up', mode: 'up', connections: 8, messageBytes: 1 },
];

/** @type {readonly import('../figures.mjs').Figure[]} */
export const PATH_FIGURES = [
  figure('way-latency', 'p50Ms', '1 KiB there and back, one connection: p50', 'ms', 'less', 3, { plotted: true }),
  figure('way-latency', 'p99Ms', '1 KiB there and back, one connection: p99', 'ms', 'less', 3),
  figure('way-messages', 'perSecond', '1 KiB there and back, 64 connections', '/s', 'more', 0),
  figure('way-messages', 'p50Ms', '1 KiB there and back, 64 connections: p50', 'ms', 'less', 2),
  figure('way-messages', 'p99Ms', '1 KiB there and back, 64 connections: p99', 'ms', 'less', 2),
  figure('way-rate', 'perSecond', 'Connections a second, each with a handshake', '/s', 'more', 0, { plotted: true }),
  figure('way-rate', 'p50Ms', 'Connection with a handshake: p50', 'ms', 'less', 2),
  figure('way-rate', 'p99Ms', 'Connection with a handshake: p99', 'ms', 'less', 2),
  figure('way-rate', 'machineMicroseconds', 'CPU a connection, machine', 'µs', 'less', 0),
  figure('way-down', 'gigabytesPerSecond', 'Bulk down, 8 streams', 'GB/s', 'more', 3),
  figure('way-down', 'machineSecondsPerGigabyte', 'Bulk down, 8 streams: CPU of the machine', 's/GB', 'less', 2),
  figure('way-up', 'gigabytesPerSecond', 'Bulk up, 8 streams', 'GB/s', 'more', 3),
  figure('way-up', 'machineSecondsPerGigabyte', 'Bulk up, 8 streams: CPU of the machine', 's/GB', 'less', 2),
];
