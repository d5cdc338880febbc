import type { Problem } from '@meshgate/core';
import { isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml';
import type { Document, Node } from 'yaml';

/** A text as a value, and where each part of it stands. */
export interface Places {
  /** What `JSON.parse` would make of it. */
  readonly value: unknown;
  /**
   * `problem` with its place, found by its path: that of the key when the path ends in one that is there, else that of the
   * nearest value above it. A problem that has a place keeps it.
   */
  placed(problem: Problem): Problem;
}

/** Reads a YAML or JSON text that has been found to be well-formed; of any other the value is `undefined`. */
export function placesIn(text: string, file: string): Places {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, logLevel: 'silent', uniqueKeys: false });
  return {
    value: document.errors.length === 0 ? document.toJS() : undefined,
    placed(problem) {
      if (problem.at !== undefined) return problem;
      const { line, col } = lines.linePos(offsetOf(document, problem.path));
      return { ...problem, at: { file, line: Math.max(line, 1), column: Math.max(col, 1) } };
    },
  };
}

function offsetOf(document: Document.Parsed, path: Problem['path']): number {
  const key = keyAt(document, path);
  if (key?.range) return key.range[0];
  for (let length = path.length; length > 0; length -= 1) {
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return document.contents?.range[0] ?? 0;
}

function keyAt(document: Document.Parsed, path: Problem['path']): Node | undefined {
  const parent = path.length > 1 ? document.getIn(path.slice(0, -1), true) : document.contents;
  if (!isMap(parent)) return undefined;
  const key = parent.items
    .map((pair) => pair.key)
    .find((candidate) => isScalar(candidate) && candidate.value === path.at(-1));
  return isNode(key) ? key : undefined;
}
