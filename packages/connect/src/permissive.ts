import { fact } from '@meshgate/core';
import type { Fact } from '@meshgate/core';

/** Set when the client sent plain text and `MutualTLSMode = "permissive"` accepted it; never set otherwise. */
export const PLAIN_TEXT: Fact<boolean> = fact('mtls.permissive', () => 'plain text, no identity');

/**
 * Whether a client speaks TLS: its first byte is the type of a handshake record (RFC 8446, section 5.1).
 *
 * @param head at least one byte
 */
export function isTls([first]: Uint8Array): boolean {
  return first === HANDSHAKE_RECORD;
}

const HANDSHAKE_RECORD = 0x16;
