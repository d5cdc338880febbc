import { DEFAULT_DRAIN } from '@meshgate/core';
import type { BackendDrain, Route } from '@meshgate/core';
import type { Field, Parsed } from './field.ts';
import { parseTimeout } from './duration.ts';

/** Values of `onBackendRemoved` and `onBackendDown`, apart from explicit times. */
export const BACKEND_DRAINS = ['keep', 'drain', 'close'] as const;

/** Keys of `onBackendRemoved` and `onBackendDown` with explicit times. */
export const BACKEND_DRAIN_KEYS = { grace: 'optional', spread: 'optional' } as const;

/** Reads how connections of a removed or failed backend are drained. */
export function readBackendDrain<Key extends 'onBackendRemoved' | 'onBackendDown'>(
  key: Key,
  field: Field | undefined,
): Pick<Route, Key> {
  const drain = field?.shape === 'mapping' ? readTimes(field) : named(field?.oneOf(BACKEND_DRAINS));
  return (drain === undefined ? {} : { [key]: drain }) as Pick<Route, Key>;
}

function named(name: (typeof BACKEND_DRAINS)[number] | undefined): BackendDrain | undefined {
  const { graceMs, spreadMs } = DEFAULT_DRAIN;
  if (name === undefined || name === 'keep') return undefined;
  return { graceMs: name === 'drain' ? graceMs : 0, spreadMs };
}

function readTimes(field: Field): BackendDrain | undefined {
  const fields = field.record(BACKEND_DRAIN_KEYS);
  if (fields === undefined) return undefined;
  const graceMs = fields.get('grace')?.parsed(parseTimeoutOrNone) ?? DEFAULT_DRAIN.graceMs;
  const spreadMs = fields.get('spread')?.parsed(parseTimeoutOrNone) ?? DEFAULT_DRAIN.spreadMs;
  return { graceMs, spreadMs };
}

function parseTimeoutOrNone(text: string): Parsed<number> {
  return text === '0s' ? { kind: 'value', value: 0 } : parseTimeout(text);
}
