// Parsing a ClientHello: of usual size, with a post-quantum key share, and in pieces. Nanoseconds per hello.
import { parseClientHello } from '../../packages/sni/dist/index.js';
import { clientHello, inRecords, X25519, X25519_MLKEM768 } from '../../packages/testkit/dist/hellos.js';
import { nanosecondsEach } from './timing.mjs';

const SEGMENT_BYTES = 1_448;

const base = { serverName: 'web.apps.example', alpn: ['h2', 'http/1.1'], grease: true };
const usual = inRecords(clientHello({ ...base, padToBytes: 512 }));
const large = inRecords(clientHello({ ...base, keyShares: [X25519_MLKEM768, X25519] }));
const inSmallRecords = inRecords(clientHello({ ...base, padToBytes: 512 }), 17);

console.log(
  JSON.stringify({
    usualNs: parsing(usual, usual.length),
    largeInSegmentsNs: parsing(large, SEGMENT_BYTES),
    smallRecordsNs: parsing(inSmallRecords, inSmallRecords.length),
    byteByByteNs: parsing(usual, 1),
  }),
);

/** @param {number} step bytes per piece */
function parsing(hello, step) {
  return nanosecondsEach(1, () => {
    let progress;
    for (let length = Math.min(step, hello.length); ; length = Math.min(length + step, hello.length)) {
      const verdict = parseClientHello(hello.subarray(0, length), progress);
      if (verdict.kind === 'hello') return;
      if (verdict.kind !== 'more') throw new Error(`expected a hello, found ${verdict.kind}`);
      progress = verdict.progress;
    }
  });
}
