/** `1.5 MB`, in powers of ten. */
export function bytes(value: number): string {
  const power = value < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(value) / 3));
  const scaled = value / 1_000 ** power;
  return `${scaled >= 100 || power === 0 ? Math.round(scaled) : scaled.toFixed(1)} ${UNITS[power] ?? ''}`;
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** `3 d 4 h`, the two largest units. */
export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ');
}

/** A number of things each second. */
export function rate(perSecond: number): string {
  return perSecond >= 100 || Number.isInteger(perSecond) ? whole(Math.round(perSecond)) : perSecond.toFixed(1);
}

/** With separators of thousands. */
export function whole(value: number): string {
  return value.toLocaleString('en');
}

/** Date and time of day where the reader is. */
export function moment(iso: string): string {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : date.toLocaleString('sv');
}

/** Time of day where the reader is. */
export function timeOfDay(date: Date): string {
  return date.toLocaleTimeString('sv');
}

/** `host:port`. */
export function address(host: string, port: number): string {
  if (host.startsWith('unix:')) return host;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
