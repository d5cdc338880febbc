import type { ComponentChildren, JSX, RefObject } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

interface VirtualListProps<Item> {
  /** Label for assistive technology. */
  readonly label: string;
  readonly columns: readonly string[];
  readonly items: readonly Item[];
  /** CSS class of each row, which defines the layout of its cells. */
  readonly rowClass: string;
  /** Height of a row in a narrow window, in pixels; the same as in page.css. */
  readonly narrowRowPx: number;
  keyOf(item: Item): string;
  /** The cells of a row, in the order of the columns. */
  cells(item: Item): ComponentChildren[];
}

/** A table of any number of rows, of which only the visible ones are in the document. */
export function VirtualList<Item>(props: VirtualListProps<Item>): JSX.Element {
  const { label, columns, items, rowClass, narrowRowPx, keyOf, cells } = props;
  const { viewport, rowHeight, first, last } = useWindow(items.length, narrowRowPx);
  return (
    <div role="table" aria-label={label} aria-rowcount={items.length + 1} class="table">
      <div role="rowgroup">
        <div role="row" class={`row head ${rowClass}`} aria-rowindex={1}>
          {columns.map((column) => (
            <span role="columnheader" key={column}>
              {column}
            </span>
          ))}
        </div>
      </div>
      {/* A region that scrolls must be reachable by keyboard. */}
      <div role="rowgroup" aria-label={label} class="viewport" ref={viewport} tabIndex={0}>
        <div role="presentation" style={{ height: `${items.length * rowHeight}px`, position: 'relative' }}>
          {items.slice(first, last).map((item, index) => (
            <div
              role="row"
              class={`row ${rowClass}`}
              aria-rowindex={first + index + 2}
              key={keyOf(item)}
              style={{ position: 'absolute', top: `${(first + index) * rowHeight}px`, height: `${rowHeight}px` }}
            >
              {cells(item).map((cell, column) => (
                <span role="cell" key={columns[column]} class="cell" data-column={columns[column]}>
                  {cell}
                </span>
              ))}
            </div>
          ))}
        </div>
      </div>
    </div>
  );
}

interface Window {
  readonly viewport: RefObject<HTMLDivElement | null>;
  readonly rowHeight: number;
  readonly first: number;
  readonly last: number;
}

/** The range of visible rows. */
function useWindow(count: number, narrowRowPx: number): Window {
  const viewport = useRef<HTMLDivElement>(null);
  const [{ top, height }, setScroll] = useState({ top: 0, height: 600 });
  const rowHeight = useIsNarrow() ? narrowRowPx : ROW_PX;
  useEffect(() => {
    const element = viewport.current;
    if (element === null) return undefined;
    const look = (): void => setScroll({ top: element.scrollTop, height: element.clientHeight });
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener('scroll', look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', look);
    };
  }, []);
  const first = Math.max(0, Math.min(Math.floor(top / rowHeight) - OVERSCAN, count - 1));
  const last = Math.min(count, Math.ceil((top + height) / rowHeight) + OVERSCAN);
  return { viewport, rowHeight, first, last };
}

function useIsNarrow(): boolean {
  const [query] = useState(() => window.matchMedia('(max-width: 760px)'));
  const [isNarrow, setNarrow] = useState(query.matches);
  useEffect(() => {
    const look = (): void => setNarrow(query.matches);
    query.addEventListener('change', look);
    return () => query.removeEventListener('change', look);
  }, [query]);
  return isNarrow;
}

/** The same as in page.css. */
const ROW_PX = 36;
/** Additional rows above and below, so that scrolling shows no gap. */
const OVERSCAN = 6;
