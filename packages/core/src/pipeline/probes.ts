import { ProxyError } from '../errors.ts';
import type { Backend } from '../routes/route.ts';
import { formatEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Connection } from '../transport/transport.ts';
import type { Dials } from './dials.ts';
import type { Outliers } from './outliers.ts';

/** An ejected address, and the dials of the connection that needs it. */
export interface ProbeOptions {
  readonly backend: Backend;
  readonly address: Endpoint;
  readonly dials: Dials;
  /** Deadline of the dial, in milliseconds of the monotonic clock. */
  readonly endsAt: number;
}

/** `unknown`: the dialling connection ended before its dial did. */
type ProbeOutcome = 'reached' | 'unknown' | ProxyError;

/**
 * Dials ejected addresses, one dial at a time per address; connections that wait for the same address share its
 * outcome. A dead backend thus costs one dial for any number of clients, and the first client detects a backend that
 * has recovered.
 */
export class Probes {
  readonly #outliers: Outliers;
  readonly #inFlight = new Map<string, Promise<ProbeOutcome>>();

  constructor(outliers: Outliers) {
    this.#outliers = outliers;
  }

  /**
   * Resolves with `undefined` if the address was not reached in time. Rejects if the session no longer needs a backend.
   */
  async reach(options: ProbeOptions): Promise<Connection | undefined> {
    const { address, dials, endsAt } = options;
    const key = formatEndpoint(address);
    for (let other = this.#inFlight.get(key); other !== undefined; other = this.#inFlight.get(key)) {
      const outcome = await dials
        .inTime(other, `of ${key}, which another connection is dialling`, endsAt)
        .catch((reason: unknown) => timedOut(reason, dials));
      if (outcome instanceof ProxyError) {
        dials.sharedFailure(outcome);
        return undefined;
      }
      if (outcome === 'reached') break;
    }
    return this.#dial(key, options);
  }

  async #dial(key: string, { backend, address, dials, endsAt }: ProbeOptions): Promise<Connection | undefined> {
    const beganAt = performance.now();
    const dial = dials.begin(backend, address, Math.max(1, endsAt - beganAt));
    if (dial === undefined) return undefined;
    const isProbe = this.#outliers.isEjected(address);
    const settle = isProbe ? this.#announce(key) : undefined;
    try {
      const connection = await dial.done;
      this.#outliers.succeeded(address);
      settle?.('reached');
      return connection;
    } catch (reason) {
      const error = ProxyError.from(reason);
      settle?.(error.side === 'downstream' || error.code === 'CLOSED_BY_DRAIN' ? 'unknown' : error);
      dials.failed(address, error, beganAt);
      return undefined;
    }
  }

  /**
   * @returns call it once, with the outcome
   */
  #announce(key: string): (outcome: ProbeOutcome) => void {
    let settle: (outcome: ProbeOutcome) => void = () => undefined;
    this.#inFlight.set(key, new Promise((resolve) => (settle = resolve)));
    return (outcome) => {
      this.#inFlight.delete(key);
      settle(outcome);
    };
  }
}

/** A timeout counts as a failure of this address: another connection's dial may have a later deadline. */
function timedOut(reason: unknown, { context }: Dials): ProxyError {
  if (context.abandoned !== undefined || !(reason instanceof ProxyError)) throw reason;
  return reason;
}
