// Where this demonstration runs.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Endpoint } from '@meshgate/core';
import { certificateAuthority } from '@meshgate/testkit';
import { areAvailable, setUpStage } from './folder.ts';
import type { Stage } from './folder.ts';
import type { Form, Options } from './options.ts';
import { AGENTS, GATEWAYS, REQUESTS, SERVICES } from './picture.ts';

/** Copies the example's files into a new folder, and adapts addresses to this machine. */
export async function setUp(form: Form, options: Pick<Options, 'freePorts' | 'oneAddress'>): Promise<Stage> {
  return setUpStage({
    example: EXAMPLE,
    parts: ['mesh', form === 'consul' ? 'consul' : 'config'],
    locations: addressesOf(form),
    // Linux accepts all of 127.0.0.0/8. macOS has only 127.0.0.1, unless others were added.
    oneAddress: options.oneAddress || !(await areAvailable(new Set(addressesOf('consul').map(({ host }) => host)))),
    freePorts: options.freePorts,
  });
}

/** The trust domain of the mesh files: Consul's cluster id in the other variant. */
const TRUST_DOMAIN = '11111111-2222-3333-4444-555555555555.consul';

/** Writes a certificate for each service, from a CA whose key is discarded. With Consul, Consul does that. */
export async function issueCertificates({ folder }: Pick<Stage, 'folder'>): Promise<void> {
  const authority = certificateAuthority('two datacenters');
  const certificates = join(folder, 'certificates');
  await mkdir(certificates);
  await writeFile(join(certificates, 'ca.pem'), authority.certificate);
  for (const { name, datacenter } of SERVICES) {
    const leaf = authority.issue({ uris: [`spiffe://${TRUST_DOMAIN}/ns/default/dc/${datacenter}/svc/${name}`] });
    await writeFile(join(certificates, `${name}.pem`), leaf.chain);
    await writeFile(join(certificates, `${name}-key.pem`), leaf.privateKey, { mode: 0o600 });
  }
}

const EXAMPLE = fileURLToPath(new URL('..', import.meta.url));

/** Every address to listen on, as in the files. No port occurs twice, whatever its address. */
function addressesOf(form: Form): readonly Endpoint[] {
  return [
    ...GATEWAYS.flatMap(({ lan, wan, admin }) => [lan, wan, admin]),
    ...SERVICES.flatMap(({ application, sidecar, admin }) => [application, sidecar, admin]),
    ...REQUESTS.map(({ at }) => at),
    ...(form === 'consul' ? AGENTS.flatMap(({ http, others }) => [http, ...others]) : []),
  ];
}
