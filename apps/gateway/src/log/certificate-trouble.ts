import type { OwnCertificate } from '@meshgate/core';
import { lineOf } from './messages.ts';
import type { LogLine } from './messages.ts';

/** Returns the line about a certificate that was not renewed in time, for the log and for `GET /ready`. */
export function certificateTrouble({ identity, validUntil }: OwnCertificate, state: 'overdue' | 'expired'): LogLine {
  const values = { identity, date: validUntil.toISOString() };
  return lineOf(state === 'expired' ? 'certificateExpired' : 'certificateOverdue', values);
}
