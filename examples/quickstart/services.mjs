// The services behind the gateway of the quick start: each has its own certificate and responds with its name.
import { certificateAuthority, tlsBackend } from '@meshgate/testkit';

/**
 * Starts them.
 *
 * @param {{ api1: number, api2: number, web: number }} ports of 127.0.0.1
 * @returns {Promise<{ ca: string, stop(): Promise<void> }>} the authority that a client must trust (PEM)
 */
export async function startServices({ api1, api2, web }) {
  const authority = certificateAuthority('Meshgate quick start');
  const service = (name, dnsName, port) =>
    tlsBackend(`${name} answers\n`, {
      at: { host: '127.0.0.1', port },
      identity: authority.issue({ dnsNames: [dnsName] }),
    });
  const services = await Promise.all([
    service('api-1', 'api.example.com', api1),
    service('api-2', 'api.example.com', api2),
    service('web', '*.web.example.com', web),
  ]);
  return {
    ca: authority.certificate,
    stop: async () => void (await Promise.all(services.map((one) => one[Symbol.asyncDispose]()))),
  };
}
