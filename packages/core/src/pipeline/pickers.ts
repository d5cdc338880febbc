import { errorOf } from '../errors.ts';
import type { Observer } from '../observe.ts';
import type { Backend, Balance, PartUse, Route } from '../routes/route.ts';
import { drawn, picker } from './balance.ts';
import type { BalancedClient, BalanceFactory, Picker, PickerOptions } from './picker.ts';

/** What {@link Pickers} are made of. */
export interface PickersOptions extends PickerOptions {
  /** Balances of plugins, by name. */
  readonly offered: ReadonlyMap<string, BalanceFactory>;
  /** Told when a balance of a plugin fails. */
  readonly observer: Observer;
}

/** Whether the balance looks at how many connections a backend has. A plugin's may. */
export function countsConnections(balance: Balance | undefined): boolean {
  return balance !== undefined && balance !== 'round_robin' && balance !== 'random';
}

/** The pickers of routes, each made when its route first has to choose. */
export class Pickers {
  readonly #options: PickersOptions;
  readonly #made = new WeakMap<Route, Picker>();

  constructor(options: PickersOptions) {
    this.#options = options;
  }

  /** One of `from`, which has at least one. */
  pick(route: Route, from: readonly Backend[], client: BalancedClient): Backend {
    let known = this.#made.get(route);
    if (known === undefined) {
      const { balance = 'round_robin' } = route;
      known = typeof balance === 'string' ? picker(balance, this.#options) : this.#guarded(route, balance);
      this.#made.set(route, known);
    }
    return known.pick(from, client);
  }

  /** A plugin's picker: where it fails, the backend is drawn at random, and the connection never knows. */
  #guarded(route: Route, use: PartUse): Picker {
    const { random, observer } = this.#options;
    let inner: Picker | undefined;
    const pick = (from: readonly Backend[], client: BalancedClient): Backend => {
      try {
        inner ??= this.#make(use);
        // A copy: plugins may be JavaScript, and sort what they get.
        const chosen: unknown = inner.pick([...from], client);
        const known = from.find((backend) => backend === chosen);
        if (known !== undefined) return known;
        throw new TypeError('expected one of the backends it was given, found another value');
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
