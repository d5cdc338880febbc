import { fact } from '@meshgate/core';
import type { Fact } from '@meshgate/core';

/** The client has sent plain text, and `MutualTLSMode = "permissive"` lets it in all the same. Nothing else sets it. */
export const PLAIN_TEXT: Fact<boolean> = fact('mtls.permissive', () => 'plain text, no identity');

/**
 * Whether what a client has sent is TLS: that begins with a handshake record (RFC 8446, section 5.1).
 *
 * @param head at least one byte
 */
export function isTls([first]: Uint8Array): boolean {
  return first === HANDSHAKE_RECORD;
}

const HANDSHAKE_RECORD = 0x16;
