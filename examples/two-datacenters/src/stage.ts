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

/** Copies the example's files into a folder of their own, and fills in what this machine wants otherwise. */
export async function setUp(form: Form, options: Pick<Options, 'freePorts' | 'oneAddress'>): Promise<Stage> {
  return setUpStage({
    example: EXAMPLE,
    parts: ['mesh', form === 'consul' ? 'consul' : 'config'],
    places: placesOf(form),
    // Linux answers on all of 127.0.0.0/8. macOS has 127.0.0.1 only, unless somebody has added others.
    oneAddress: options.oneAddress || !(await areAvailable(new Set(placesOf('consul').map(({ host }) => host)))),
    freePorts: options.freePorts,
  });
}

/** The trust domain of the mesh files: what would be Consul's cluster id. */
const TRUST_DOMAIN = '11111111-2222-3333-4444-555555555555.consul';

/** Writes a certificate for each service, from an authority that nobody keeps. With Consul that is done by Consul. */
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

/** Everything that listens, as the files put it. No port occurs twice in them, whatever its address. */
function placesOf(form: Form): readonly Endpoint[] {
  return [
    ...GATEWAYS.flatMap(({ lan, wan, admin }) => [lan, wan, admin]),
    ...SERVICES.flatMap(({ application, sidecar, admin }) => [application, sidecar, admin]),
    ...REQUESTS.map(({ at }) => at),
    ...(form === 'consul' ? AGENTS.flatMap(({ http, others }) => [http, ...others]) : []),
  ];
}
