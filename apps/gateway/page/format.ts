export { ageText as duration, bytesText as bytes } from '../src/cli/amounts.ts';

/** A rate per second. */
export function rate(perSecond: number): string {
  return perSecond >= 100 || Number.isInteger(perSecond) ? formatCount(Math.round(perSecond)) : perSecond.toFixed(1);
}

/** With separators of thousands. */
export function formatCount(value: number): string {
  return value.toLocaleString('en');
}

/** Date and time in the reader's time zone. */
export function moment(iso: string): string {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : date.toLocaleString('sv');
}

/** Time of day in the reader's time zone. */
export function timeOfDay(date: Date): string {
  return date.toLocaleTimeString('sv');
}

/** `host:port`. */
export function address(host: string, port: number): string {
  if (host.startsWith('unix:')) return host;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
