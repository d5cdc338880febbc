import type { OwnCertificate } from '@meshgate/core';

/** What is wrong with a certificate that was not renewed in time, in a sentence for the log and for `GET /ready`. */
export function certificateTrouble({ identity, validUntil }: OwnCertificate, state: 'overdue' | 'expired'): string {
  const until = validUntil.toISOString();
  return state === 'expired'
    ? `the certificate of ${identity} expired at ${until} and was not renewed: peers refuse it`
    : `the certificate of ${identity} expires at ${until} and has not been renewed: peers will refuse it from then on`;
}
