import { describeSniffer } from '@meshgate/testkit';
import { sshSniffer } from './ssh-sniffer.ts';

describeSniffer('the sniffer of SSH', sshSniffer, [
  {
    name: 'a greeting',
    bytes: Buffer.from('SSH-2.0-OpenSSH_9.9\r\n'),
    expected: { kind: 'hello', hello: { protocol: 'ssh' } },
  },
  { name: 'a line that does not end', bytes: Buffer.from('SSH-2.0-'.padEnd(255, 'x')), expected: { kind: 'reject' } },
  { name: 'an older version', bytes: Buffer.from('SSH-1'), expected: { kind: 'pass' } },
]);
