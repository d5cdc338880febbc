import { fact, ProxyError, withUpgrade } from '@meshgate/core';
import type { Connection, ConnectionFilter, Connector, Fact, FilterContext, Layer, UpgradeTime } from '@meshgate/core';

/** Set when a client sent PostgreSQL's SSLRequest before its ClientHello. */
export const POSTGRES_SSL: Fact<true> = fact('postgres.ssl');

// Both messages have eight bytes: the length, and a code instead of a version (PostgreSQL, protocol, message formats).
const REQUEST_BYTES = 8;
const SSL_REQUEST = 80_877_103;
const GSSENC_REQUEST = 80_877_104;
const ACCEPTED = Buffer.from('S');
const DECLINED = Buffer.from('N');

// A client requests each kind of encryption at most once.
const MAX_REQUESTS = 2;

/**
 * Answers PostgreSQL clients before TLS: declines encryption by GSSAPI (`N`) and accepts TLS (`S`); their ClientHello
 * follows, or has already arrived. Clients that begin with a ClientHello (`sslnegotiation=direct`) pass unchanged.
 */
export function postgres(): ConnectionFilter {
  return { name: 'postgres', filter };

  async function filter(client: FilterContext): Promise<undefined> {
    for (let requests = 0; requests < MAX_REQUESTS; requests += 1) {
      const code = await requestOf(client);
      if (code === undefined) return;
      client.consume(REQUEST_BYTES);
      await client.write(code === SSL_REQUEST ? ACCEPTED : DECLINED);
      if (code !== SSL_REQUEST) continue;
      client.set(POSTGRES_SSL, true);
      return;
    }
  }
}

/** Returns the code of the request at the start of the bytes, or `undefined` if there is none. */
async function requestOf(client: FilterContext): Promise<number | undefined> {
  // The first byte identifies a ClientHello: 22 where a request has 0.
  if ((await client.peek(1))[0] !== 0) return undefined;
  const [, b1, b2, b3] = await client.peek(4);
  if (b1 !== 0 || b2 !== 0 || b3 !== REQUEST_BYTES) return undefined;
  const code = Buffer.from((await client.peek(REQUEST_BYTES)).subarray(4, REQUEST_BYTES)).readUInt32BE();
  return code === SSL_REQUEST || code === GSSENC_REQUEST ? code : undefined;
}

/**
 * Sends an SSLRequest to the backend, before the ClientHello, if the client sent one: for servers that expect it.
 * Requires {@link postgres}; no effect without it.
 */
export function postgresBackends(): Layer<Connector> {
  return (inner) => ({
    connect: (route, context) => {
      const requested = POSTGRES_SSL.of(context.connection) === true;
      return inner.connect(route, requested ? withUpgrade(context, requestTls) : context);
    },
  });
}

async function requestTls(connection: Connection, { timeoutMs }: UpgradeTime): Promise<Connection> {
  const timeout = new ProxyError('CONNECT_TIMEOUT', 'no response to an SSLRequest in time');
  const timer = setTimeout(() => connection.destroy(timeout), timeoutMs);
  try {
    const request = Buffer.alloc(REQUEST_BYTES);
    request.writeUInt32BE(REQUEST_BYTES, 0);
    request.writeUInt32BE(SSL_REQUEST, 4);
    await connection.write(request);
    const response = await connection.read();
    if (response !== undefined && Buffer.compare(response, ACCEPTED) === 0) return connection;
    throw new ProxyError('CONNECT_FAILED', `expected a PostgreSQL server that accepts TLS, found ${found(response)}`);
  } finally {
    clearTimeout(timer);
  }
}

function found(response: Uint8Array | undefined): string {
  if (response === undefined) return 'the end of the stream';
  return Buffer.compare(response, DECLINED) === 0
    ? 'one that declines it'
    : `a response that begins with ${Buffer.from(response.subarray(0, REQUEST_BYTES)).toString('hex')}`;
}
