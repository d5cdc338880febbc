import { createSocket } from 'node:dgram';
import type { Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Server, Socket as TcpSocket } from 'node:net';
import { isIPv6 } from 'node:net';

/** The response of a {@link nameServer} for one record type of one name. */
export type NameAnswer =
  /**
   * Addresses, with a time to live in seconds. Truncated responses are fetched over TCP. `via`: a chain of canonical
   * names (`CNAME`). `delayed`: the response to a query is only sent when the query has been repeated, and the repeated one
   * is never answered.
   */
  | {
      readonly addresses: readonly string[];
      readonly ttl?: number;
      readonly truncated?: boolean;
      readonly via?: readonly string[];
      readonly delayed?: boolean;
    }
  /** The name exists, but has no address of this family. */
  | 'none'
  | 'NXDOMAIN'
  | 'SERVFAIL'
  | 'REFUSED'
  /** Never responds. */
  | 'drop';

/**
 * Records by name, in lower case without a trailing dot, and family. An unlisted name does not exist; an unlisted
 * family is `none`.
 */
export type Zone = Readonly<Record<string, { readonly A?: NameAnswer; readonly AAAA?: NameAnswer }>>;

/** A name server on loopback, for tests of its clients. */
export interface NameServer extends AsyncDisposable {
  /** Its address in the format of resolv.conf: `[127.0.0.1]:PORT`. */
  readonly server: string;
  /** Every query so far, such as `A db.example`, in order, including those over TCP. */
  readonly queries: readonly string[];
  /** Resolves when `question` has been received `times` times in total. */
  queried(question: string, times?: number): Promise<void>;
  /** Replaces its records. */
  serve(zone: Zone): void;
}

const HOST = '127.0.0.1';
const RCODES = { none: 0, NXDOMAIN: 3, SERVFAIL: 2, REFUSED: 5 } as const;
const TYPES: Readonly<Record<number, 'A' | 'AAAA'>> = { 1: 'A', 28: 'AAAA' };
const HEADER_BYTES = 12;

/** Starts a name server for `zone` (RFC 1035, section 4), over UDP and TCP on one port of loopback. */
export async function nameServer(zone: Zone = {}): Promise<NameServer> {
  let known = zone;
  const queries: string[] = [];
  const waiting = new Set<() => void>();
  const { udp, tcp, port } = await bound();
  const delayed = new Map<string, () => void>();
  udp.on('message', (query, from) => {
    const reply = answer(query, 'udp');
    if (reply === undefined) return;
    const respond = (): void => udp.send(reply, from.port, from.address);
    const { name, type } = question(query);
    const records = type && known[name]?.[type];
    if (typeof records !== 'object' || records.delayed !== true) return respond();
    const key = `${type} ${name}`;
    const respondToFirst = delayed.get(key);
    if (!delayed.delete(key)) delayed.set(key, respond);
    respondToFirst?.();
  });
  tcp.on('connection', (socket: TcpSocket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      const reply = answer(bytes.subarray(2), 'tcp');
      if (reply !== undefined) socket.end(Buffer.concat([uint16(reply.length), reply]));
    });
  });
  return { server: `[${HOST}]:${port}`, queries, queried, serve, [Symbol.asyncDispose]: close };

  function answer(query: Buffer, over: 'udp' | 'tcp'): Buffer | undefined {
    const { name, type, end } = question(query);
    queries.push(`${type ?? 'other'} ${name}`);
    for (const wake of waiting) wake();
    const records = type === undefined ? 'none' : (known[name]?.[type] ?? (name in known ? 'none' : 'NXDOMAIN'));
    return records === 'drop' ? undefined : message(query.subarray(0, end), records, over);
  }

  async function queried(text: string, times = 1): Promise<void> {
    while (queries.filter((one) => one === text).length < times)
      await new Promise<void>((resolve) => {
        const wake = (): void => (waiting.delete(wake), resolve());
        waiting.add(wake);
      });
  }

  function serve(next: Zone): void {
    known = next;
  }

  async function close(): Promise<void> {
    const closed = [once(udp, 'close'), once(tcp, 'close')];
    udp.close();
    tcp.close();
    await Promise.all(closed);
  }
}

/** Binds one port for UDP and TCP; tries another if the one that the system selected for TCP is in use for UDP. */
async function bound(): Promise<{ udp: UdpSocket; tcp: Server; port: number }> {
  for (;;) {
    const tcp = createServer().listen(0, HOST);
    await once(tcp, 'listening');
    const address = tcp.address();
    if (address === null || typeof address === 'string') throw new TypeError('expected an IP address');
    const udp = createSocket('udp4');
    udp.bind(address.port, HOST);
    const isBound = await once(udp, 'listening').then(
      () => true,
      () => false,
    );
    if (isBound) return { udp, tcp, port: address.port };
    tcp.close();
  }
}

/** Parses the only question of a query, with its end offset. */
function question(query: Buffer): { name: string; type: 'A' | 'AAAA' | undefined; end: number } {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), type: TYPES[query.readUInt16BE(at + 1)], end: at + 5 };
}

function message(query: Buffer, logged: Exclude<NameAnswer, 'drop'>, over: 'udp' | 'tcp'): Buffer {
  const isTruncated = typeof logged !== 'string' && logged.truncated === true && over === 'udp';
  const addresses = typeof logged === 'string' || isTruncated ? [] : logged.addresses;
  const { ttl = 60, via = [] } = typeof logged === 'string' || isTruncated ? {} : logged;
  const owners = [QUESTION, ...via.map(nameBytes)];
  const aliases = via.map((name, index) =>
    record({ owner: owners[index] ?? QUESTION, type: CNAME, data: nameBytes(name), ttl }),
  );
  const records = [...aliases, ...addresses.map((address) => addressRecord(owners.at(-1) ?? QUESTION, address, ttl))];
  const rcode = typeof logged === 'string' ? RCODES[logged] : 0;
  const flags = 0x81_80 | (isTruncated ? 0x02_00 : 0) | rcode;
  const counts = [1, records.length, 0, 0].map(uint16);
  const header = Buffer.concat([query.subarray(0, 2), uint16(flags), ...counts]);
  return Buffer.concat([header, query.subarray(HEADER_BYTES), ...records]);
}

/** Compression pointer to the name of the question. */
const QUESTION = uint16(0xc0_0c);
const CNAME = 5;

function addressRecord(owner: Buffer, address: string, ttl: number): Buffer {
  if (isIPv6(address)) return record({ owner, type: 28, data: ipv6Bytes(address), ttl });
  return record({ owner, type: 1, data: Buffer.from(address.split('.').map(Number)), ttl });
}

interface ResourceRecord {
  readonly owner: Buffer;
  readonly type: number;
  readonly data: Buffer;
  readonly ttl: number;
}

function record({ owner, type, data, ttl }: ResourceRecord): Buffer {
  const seconds = Buffer.alloc(4);
  seconds.writeUInt32BE(ttl);
  return Buffer.concat([owner, uint16(type), uint16(1), seconds, uint16(data.length), data]);
}

function nameBytes(name: string): Buffer {
  const labels = name.split('.').flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)]);
  return Buffer.concat([...labels, Buffer.from([0])]);
}

function ipv6Bytes(address: string): Buffer {
  const [head = '', tail] = address.split('::');
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const [before, after] = [groups(head), groups(tail ?? '')];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  return Buffer.concat([...before, ...zeros, ...after].map((group) => uint16(Number.parseInt(group, 16))));
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}
