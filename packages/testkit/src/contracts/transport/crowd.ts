import { expect } from '../../runner.ts';
import type { Peer } from '../../peer.ts';
import { peerListener } from '../../listener.ts';
import { Random } from '../random.ts';
import { openDescriptors, untilDescriptors } from '../resources.ts';
import { expectSameBytes, payload } from './bytes.ts';
import type { TransportClaim } from './claims.ts';
import type { WiredListener, Spliced, Wiring } from './wiring.ts';

export function crowdClaims(claim: TransportClaim): void {
  claim(`keeps ${CROWD} concurrent ones apart, and leaves no descriptor behind`, async (wiring) => {
    const accepting = await wiring.listen();
    const backends = wiring.owned(await peerListener({ halfOpen: true }));
    const before = openDescriptors();
    const random = new Random(4);
    const crowd: Spliced[] = [];
    for (let count = 0; count < CROWD; count += 1) crowd.push(await splicedThrough(wiring, accepting, backends));
    await Promise.all(
      crowd.map((each) => exchange(each, payload(random.below(65_536)), payload(random.below(65_536)))),
    );
    await untilDescriptors(before);
  });
}

// Four sockets each, all in this process: within the limit of 4,096 descriptors of many systems.
const CROWD = 500;

async function splicedThrough(
  wiring: Wiring,
  { address, accept }: WiredListener,
  backends: { readonly address: WiredListener['address']; accept(): Promise<Peer> },
): Promise<Spliced> {
  const down = await wiring.acceptedFrom(address, accept, { halfOpen: true });
  const up = await wiring.dial(backends.address);
  return { client: down.peer, backend: await backends.accept(), splice: wiring.splice(down.connection, up) };
}

async function exchange({ client, backend, splice }: Spliced, up: Uint8Array, down: Uint8Array): Promise<void> {
  await Promise.all([client.send(up), backend.send(down)]);
  client.end();
  backend.end();
  const [received, answered, transfer] = await Promise.all([backend.receiveAll(), client.receiveAll(), splice.done]);
  expectSameBytes(received, up);
  expectSameBytes(answered, down);
  expect(transfer).toMatchObject({ bytesUp: up.length, bytesDown: down.length });
  expect(transfer.error).toBeUndefined();
}
