import { ConfigProblems, definePlugin } from '@meshgate/core';
import type { Backend, Picker, PickerOptions } from '@meshgate/core';

/**
 * A tenant with dedicated backends uses only these: the least busy of those whose label is the first part of the server
 * name.
 */
export function tenantBalance(label: string, { load }: PickerOptions): Picker {
  return {
    pick(from, { hello }) {
      const tenant = hello.serverName?.split('.')[0];
      const own = from.filter(({ labels }) => labels?.[label] === tenant);
      const shared = from.filter(({ labels }) => labels?.[label] === undefined);
      const least = (one: Backend, other: Backend): Backend => (load(other) < load(one) ? other : one);
      return [own, shared, from].find(({ length }) => length > 0)?.reduce(least) as Backend;
    },
  };
}

/** A route enables it with `balance: { name: tenant, label: tenant }`. */
export default definePlugin({
  name: 'tenant',
  parse: () => undefined,
  setup: (host) => host.offerBalance('tenant', (settings, options) => tenantBalance(labelOf(settings), options)),
});

function labelOf({ label }: Readonly<Record<string, unknown>>): string {
  if (typeof label === 'string') return label;
  throw new ConfigProblems([{ path: ['label'], message: 'expected the name of a label' }]);
}
