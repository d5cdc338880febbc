import type { StatusView } from '../admin/status.ts';
import type { TrafficRates } from '../admin/traffic-rates.ts';

/** An event of `GET /events` that `top` shows. */
export type GatewayEvent =
  { readonly event: 'status'; readonly data: StatusView } | { readonly event: 'traffic'; readonly data: TrafficRates };

/** Parses server-sent events in the format of the admin API: one line `event`, one line `data`, and an empty one. */
export async function* eventsIn(chunks: AsyncIterable<string>): AsyncGenerator<GatewayEvent> {
  let rest = '';
  for await (const chunk of chunks) {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
      if (data === undefined || (event !== 'status' && event !== 'traffic')) continue;
      // Unknown events are ignored, since the gateway may have another version.
      yield { event, data: JSON.parse(data) as never };
    }
  }
}
