import type { Sniffer } from '@meshgate/core';

// RFC 4253, section 4.2: the line ends with CR LF and has at most 255 characters, including both.
const GREETING = Buffer.from('SSH-2.0-');
const MOST_BYTES = 255;

/** Recognises SSH, whose client sends the first line. */
export const sshSniffer: Sniffer = {
  name: 'ssh',
  inspect(head) {
    const known = Math.min(head.length, GREETING.length);
    if (GREETING.compare(head, 0, known, 0, known) !== 0) return { kind: 'pass' };
    if (head.subarray(0, MOST_BYTES).includes(0x0a)) return { kind: 'hello', hello: HELLO };
    if (head.length < MOST_BYTES) return { kind: 'more' };
    return { kind: 'reject', reason: `expected the end of the line within ${MOST_BYTES} bytes, found none` };
  },
};

const HELLO = { protocol: 'ssh', alpn: [], supportedVersions: [], ech: false, earlyData: false };
