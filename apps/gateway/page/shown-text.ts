import { options } from 'preact';
import type { ComponentChildren } from 'preact';
import { printable } from '../src/log/printable.ts';

/**
 * From now on every text that the page shows is printable, as in a terminal: names of catalogs and clients may have
 * characters that turn the rest of a line around, or that nobody sees.
 */
export function showPrintable(): void {
  const before = options.vnode;
  options.vnode = (vnode) => {
    const props = vnode.props as Shown;
    if (props.children !== undefined) props.children = shown(props.children);
    for (const name of ['title', 'aria-label'] as const) {
      const text = props[name];
      if (typeof text === 'string') props[name] = printable(text);
    }
    before?.(vnode);
  };
}

interface Shown {
  children?: ComponentChildren;
  title?: unknown;
  'aria-label'?: unknown;
}

function shown(children: ComponentChildren): ComponentChildren {
  if (Array.isArray(children)) return children.map(shown);
  return typeof children === 'string' ? printable(children) : children;
}
