import { errorOf } from '../errors.ts';
import { foundPart } from '../lifecycle/part-shape.ts';
import type { Observer } from '../observe.ts';
import { memoized } from '../memo.ts';
import type { Backend, Balance, PartUse, Route } from '../routes/route.ts';
import { drawn, picker } from './balance.ts';
import type { BalancedClient, BalanceFactory, Picker, PickerOptions } from './picker.ts';

/** Dependencies of {@link Pickers}. */
export interface PickersOptions extends PickerOptions {
  /** Balances offered by plugins, by name. */
  readonly offered: ReadonlyMap<string, BalanceFactory>;
  /** Receives `balance.failed`. */
  readonly observer: Observer;
}

/** Whether a balance uses connection counts of backends. A plugin's balance may. */
export function countsConnections(balance: Balance | undefined): boolean {
  return balance !== undefined && balance !== 'round_robin' && balance !== 'random';
}

/** The pickers of routes, each created at the first choice of its route. */
export class Pickers {
  readonly #options: PickersOptions;
  readonly #of = memoized((route: Route): Picker => {
    const { balance = 'round_robin' } = route;
    return typeof balance === 'string' ? picker(balance, this.#options) : this.#guarded(route, balance);
  });

  constructor(options: PickersOptions) {
    this.#options = options;
  }

  /** Selects one of `from`, which must not be empty. */
  pick(route: Route, from: readonly Backend[], client: BalancedClient): Backend {
    return this.#of(route).pick(from, client);
  }

  /** Wraps a plugin's picker: if it fails, a backend is drawn at random instead, and the connection continues. */
  #guarded(route: Route, use: PartUse): Picker {
    const { random, observer } = this.#options;
    let inner: Picker | undefined;
    const pick = (from: readonly Backend[], client: BalancedClient): Backend => {
      try {
        inner ??= this.#make(use);
        // A copy: plugins may be plain JavaScript and sort the list.
        const chosen: unknown = inner.pick([...from], client);
        const known = from.find((backend) => backend === chosen);
        if (known !== undefined) return known;
        throw new TypeError(`expected one of the backends it was given, found ${foundPart(chosen)}`);
      } catch (thrown) {
        observer.observe({ type: 'balance.failed', route, balance: use.name, error: errorOf(thrown) });
        return drawn(from, random);
      }
    };
    return { pick };
  }

  #make({ name, settings }: PartUse): Picker {
    const make = this.#options.offered.get(name);
    if (make === undefined) throw new Error('no plugin offers it');
    const { load, random } = this.#options;
    return make(settings, { load, random });
  }
}
