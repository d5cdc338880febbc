import type { Problem } from '@meshgate/core';
import { type Alias, type Document, isAlias, isCollection, isPair, type Node, visit } from 'yaml';
import type { DocumentPosition } from './field.ts';

/**
 * Returns the node to which each alias of a document refers: the last earlier one with its anchor (YAML 1.2.2, section
 * 7.1).
 */
export function aliasesOf(document: Document): ReadonlyMap<Alias, Node> {
  const anchors = new Map<string, Node>();
  const aliases = new Map<Alias, Node>();
  visit(document, {
    Node: (_key, node) => {
      const target = isAlias(node) ? anchors.get(node.source) : undefined;
      if (isAlias(node) && target !== undefined) aliases.set(node, target);
      else if (!isAlias(node) && node.anchor !== undefined) anchors.set(node.anchor, node);
    },
  });
  return aliases;
}

/**
 * Number of nodes that aliases may add to those of the text. Nested aliases grow exponentially: a few lines can exhaust
 * the memory. A hundred thousand routes that share their backends stay below the limit.
 */
const MAX_ADDED_NODES = 1_000_000;

/** Returns the problems of aliases that cannot be resolved: a cycle, or an expansion beyond the limit. */
export function expansionProblems(
  contents: Node | null,
  aliases: ReadonlyMap<Alias, Node>,
  positionOf: (offset: number) => DocumentPosition,
): readonly Problem[] {
  if (aliases.size === 0) return [];
  const problem = (alias: Alias, message: string): Problem => ({
    message,
    path: [],
    at: positionOf(alias.range?.[0] ?? 0),
  });
  const sizes = new Map<Node, number>();
  const added = { nodes: 0 };
  try {
    sizeOf(contents);
  } catch (reason) {
    if (reason instanceof ExpansionError) return [problem(reason.alias, reason.message)];
    throw reason;
  }
  return [];

  /** Returns the number of nodes in `node`, itself included, with aliases resolved. Visits each node once. */
  function sizeOf(node: unknown): number {
    if (isPair(node)) return sizeOf(node.key) + sizeOf(node.value);
    if (isAlias(node)) return sizeOfAlias(node);
    if (!isCollection(node)) return 1;
    const known = sizes.get(node);
    if (known !== undefined) return known;
    sizes.set(node, UNFINISHED);
    const size = node.items.reduce<number>((sum, item) => sum + sizeOf(item), 1);
    sizes.set(node, size);
    return size;
  }

  function sizeOfAlias(alias: Alias): number {
    const target = aliases.get(alias);
    const size = target === undefined ? 1 : sizeOf(target);
    if (size === UNFINISHED)
      throw new ExpansionError(alias, `expected a value, found the YAML alias *${alias.source} inside its own anchor`);
    added.nodes += size;
    if (added.nodes > MAX_ADDED_NODES)
      throw new ExpansionError(alias, `expected YAML aliases that add at most ${MAX_ADDED_NODES} values, found more`);
    return size;
  }
}

/** Marks a size in progress: reading it reveals a cycle. */
const UNFINISHED = -1;

class ExpansionError extends Error {
  readonly alias: Alias;

  constructor(alias: Alias, message: string) {
    super(message);
    this.alias = alias;
  }
}
