import type { JSX } from 'preact';

interface ControlsProps<Order extends string> {
  readonly search: string;
  onSearch(text: string): void;
  /** The sort orders, each with its label. */
  readonly orders: Readonly<Record<Order, string>>;
  readonly order: Order;
  onOrder(order: Order): void;
  /** Number of rows, human-readable. */
  readonly count: string;
}

/** Search and sort order of a table. */
export function Controls<Order extends string>(props: ControlsProps<Order>): JSX.Element {
  const { search, onSearch, orders, order, onOrder, count } = props;
  return (
    <form class="controls" role="search" onSubmit={(event) => event.preventDefault()}>
      <label>
        Search
        <input type="search" value={search} onInput={({ currentTarget }) => onSearch(currentTarget.value)} />
      </label>
      <label>
        Sort by
        <select value={order} onChange={({ currentTarget }) => onOrder(currentTarget.value as Order)}>
          {Object.entries<string>(orders).map(([name, text]) => (
            <option key={name} value={name}>
              {text}
            </option>
          ))}
        </select>
      </label>
      <output aria-live="polite">{count}</output>
    </form>
  );
}
