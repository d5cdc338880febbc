import { changedUpstream, withDial, withUpgrade } from '@meshgate/core';
import type {
  Backend,
  Connection,
  ConnectContext,
  Connector,
  Hello,
  Layer,
  ProxyProtocolVersion,
  Upstream,
  Route,
} from '@meshgate/core';
import { formatProxyHeader } from './proxy-header-writer.ts';
import type { Tlv } from './proxy-header.ts';
import { PROXY_HEADER } from './proxy-protocol.ts';

/**
 * Sends the client's address to backends on routes with `proxyProtocol`: the header precedes the client's first bytes
 * in the same write, and any layer that changes the stream. Must be outside of such layers.
 */
export function proxyProtocolBackends(): Layer<Connector> {
  return (inner) => ({
    connect: (route, context) =>
      route.proxyProtocol === undefined ? inner.connect(route, context) : connectWith(inner, route, context),
  });
}

async function connectWith(inner: Connector, route: Route, context: ConnectContext): Promise<Upstream> {
  const headers = new Headers(context);
  /** Connections whose header has been sent. */
  const hasHeader = new WeakSet<Connection>();
  const dialling = withDial(context, (backend, address, options) => {
    const header = headers.for(route, backend);
    if (header === undefined || options.upgrade === undefined) return context.dial(backend, address, options);
    const first = withUpgrade(context, async (connection) => {
      await connection.write(header);
      return connection;
    });
    const dial = first.dial(backend, address, options);
    dial.done.then(
      (connection) => hasHeader.add(connection),
      () => undefined,
    );
    return dial;
  });
  return changedUpstream(await inner.connect(route, dialling), (upstream) => {
    const { connection, backend, address, trace } = upstream;
    const preface = headers.for(route, backend);
    if (preface === undefined || hasHeader.has(connection)) return upstream;
    const facts = { connection, route: upstream.route, backend, address, ...(trace !== undefined && { trace }) };
    return { ...facts, preface, release: (transfer) => upstream.release(transfer) };
  });
}

/** The headers of one connection, each formatted once. */
class Headers {
  readonly #context: ConnectContext;
  readonly #written = new Map<ProxyProtocolVersion, Uint8Array>();

  constructor(context: ConnectContext) {
    this.#context = context;
  }

  /** Returns the header for a backend, or `undefined` if it gets none. */
  for(
    { proxyProtocol: ofRoute = 'off' }: Route,
    { proxyProtocol: version = ofRoute }: Backend,
  ): Uint8Array | undefined {
    if (version === 'off') return undefined;
    const known = this.#written.get(version);
    if (known !== undefined) return known;
    const header = headerOf(version, this.#context);
    this.#written.set(version, header);
    return header;
  }
}

function headerOf(version: ProxyProtocolVersion, { connection, hello }: ConnectContext): Uint8Array {
  const { remote: source, local } = connection;
  // Behind a load balancer, the client connected to the address of the load balancer.
  const destination = PROXY_HEADER.of(connection)?.destination ?? local;
  return formatProxyHeader(version, {
    source,
    destination,
    ...(version === 'v2' && { tlvs: tlvsOf(hello, connection.id) }),
  });
}

// TLV types, and the sub-types of `SSL`.
const [ALPN, AUTHORITY, UNIQUE_ID, SSL, SSL_VERSION] = [0x01, 0x02, 0x05, 0x20, 0x21];
/** The client uses TLS. Any value but 0 in `verify` means that it has no verified certificate. */
const SSL_CLIENT = [0x01, 0, 0, 0, 1];

/** Returns the unencrypted facts of a ClientHello as TLVs. */
function tlvsOf({ serverName, alpn = [], protocol, supportedVersions = [] }: Hello, id: string): readonly Tlv[] {
  const [preferred] = alpn;
  const [version, ...others] = supportedVersions.flatMap((one) => VERSIONS.get(one) ?? []);
  // If there are several, the server's choice is not known yet.
  const ssl =
    version === undefined || others.length > 0 ? [] : [SSL_VERSION, 0, version.length, ...Buffer.from(version)];
  return [
    ...(preferred === undefined ? [] : [{ type: ALPN, value: Buffer.from(preferred, 'latin1') }]),
    ...(serverName === undefined ? [] : [{ type: AUTHORITY, value: Buffer.from(serverName) }]),
    { type: UNIQUE_ID, value: Buffer.from(id) },
    ...(protocol === 'tls' ? [{ type: SSL, value: Uint8Array.from([...SSL_CLIENT, ...ssl]) }] : []),
  ];
}

/** In HAProxy's notation. */
const VERSIONS: ReadonlyMap<number, string> = new Map([
  [0x03_01, 'TLSv1'],
  [0x03_02, 'TLSv1.1'],
  [0x03_03, 'TLSv1.2'],
  [0x03_04, 'TLSv1.3'],
]);
