import { parseClientHello } from '@meshgate/sni';

export async function serverNameOf(socket: AsyncIterable<Uint8Array>): Promise<string | undefined> {
  let [head, progress]: [Uint8Array, unknown] = [new Uint8Array(), undefined];
  for await (const chunk of socket) {
    head = Buffer.concat([head, chunk]);
    const verdict = parseClientHello(head, progress);
    if (verdict.kind === 'hello') return verdict.serverName;
    if (verdict.kind === 'reject') throw new Error(`${verdict.reason}: ${verdict.detail}`);
    progress = verdict.progress;
  }
  return undefined;
}
