import type { StatusView } from '../admin/status.ts';
import type { TrafficRates } from '../admin/traffic-rates.ts';

/** An event of `GET /events` that `top` shows. */
export type GatewayEvent =
  { readonly event: 'status'; readonly data: StatusView } | { readonly event: 'traffic'; readonly data: TrafficRates };

/** Parses server-sent events as the admin API writes them: one line `event`, one line `data`, and an empty one. */
export async function* eventsIn(chunks: AsyncIterable<string>): AsyncGenerator<GatewayEvent> {
  let rest = '';
  for await (const chunk of chunks) {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
      if (data === undefined || (event !== 'status' && event !== 'traffic')) continue;
      // The gateway may have another version: unknown events are ignored.
      yield { event, data: JSON.parse(data) as never };
    }
  }
}
