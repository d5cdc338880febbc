import type { Problem } from '@meshgate/core';
import { atOnce } from '@meshgate/core/parts';
import { type ParseError, parse as parseJson, printParseErrorCode } from 'jsonc-parser';
import { Document, isScalar, LineCounter, type Node, parseDocument, visit, type YAMLError } from 'yaml';
import { aliasesOf, expansionProblems } from './aliases.ts';
import { jsonTree } from './json-tree.ts';
import { nestingProblems } from './nesting.ts';
import { Field, type FieldContext, type DocumentPosition } from './field.ts';

/** The result of opening a document. */
export type OpenedDocument =
  /** A parsed document. Each {@link Field} below `root` adds to both lists: problems, and settings without effect. */
  | {
      readonly kind: 'document';
      readonly root: Field;
      readonly problems: readonly Problem[];
      readonly warnings: readonly Problem[];
    }
  /** Neither valid YAML nor valid JSON. */
  | { readonly kind: 'broken'; readonly problems: readonly Problem[] };

/** The language of a document. */
export type Language = 'yaml' | 'json';

/**
 * Opens a YAML 1.2 or JSON document: JSON when the name of `file` ends in `.json`, unless `language` is set. Pure:
 * `file` only names the file in problems. Duplicate keys, unknown tags, a second document, and aliases that expand
 * without bounds are problems.
 */
export function openDocument(text: string, file: string, language?: Language): OpenedDocument {
  return atOnce(openingDocument(text, file, language));
}

/**
 * Like {@link openDocument}, in steps, so that the caller can yield in between: a megabyte of JSON takes 0.1 s. YAML
 * and invalid JSON are parsed in one long step.
 */
export function* openingDocument(
  text: string,
  file: string,
  language: Language = file.endsWith('.json') ? 'json' : 'yaml',
): Generator<void, OpenedDocument> {
  const tree = language === 'json' ? yield* jsonTree(text) : undefined;
  if (tree !== undefined)
    return opened(tree, { resolve: () => undefined, positionOf: positionsIn(text, file), problems: [], warnings: [] });
  // Checked first, because the parsers are recursive.
  const nesting = yield* nestingProblems(text, (offset) => positionsIn(text, file)(offset));
  return nesting.length > 0 ? { kind: 'broken', problems: nesting } : parsedAtOnce(text, file, language);
}

function parsedAtOnce(text: string, file: string, language: Language): OpenedDocument {
  const lines = new LineCounter();
  const positionOf = (offset: number): DocumentPosition => positionIn(file, lines, offset);
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    stringKeys: true,
    // Disabled, since the parser compares each key with all others of its mapping.
    uniqueKeys: false,
    logLevel: 'error',
  });
  const syntax = language === 'json' ? jsonProblems(text, positionOf) : [];
  const errors = [...document.errors, ...document.warnings];
  if (syntax.length === 0)
    syntax.push(...firstOf(errors.filter(breaks)).map((error) => yamlProblem(error, positionOf)));
  if (syntax.length > 0) return { kind: 'broken', problems: syntax };
  const problems = [...errors.map((error) => yamlProblem(error, positionOf)), ...repeatedKeys(document, positionOf)];
  const aliases = aliasesOf(document);
  const expansion = expansionProblems(document.contents, aliases, positionOf);
  if (expansion.length > 0) return { kind: 'broken', problems: [...problems, ...expansion] };
  return opened(document.contents, { resolve: (alias) => aliases.get(alias), positionOf, problems, warnings: [] });
}

/** Opens a plain value, as `JSON.parse` returns it. Its problems have a path and no position. */
export function openValue(value: unknown): Extract<OpenedDocument, { kind: 'document' }> {
  const { contents } = new Document(value, { aliasDuplicateObjects: false });
  return opened(contents, { resolve: () => undefined, positionOf: () => undefined, problems: [], warnings: [] });
}

/** Opens the parsed `contents`, from any parser. */
export function opened(contents: Node | null, context: FieldContext): Extract<OpenedDocument, { kind: 'document' }> {
  const { problems, warnings } = context;
  return { kind: 'document', root: new Field(contents, [], context), problems, warnings };
}

/** Returns a function that maps offsets into `text` to positions. */
export function positionsIn(text: string, file: string): (offset: number) => DocumentPosition {
  const lines = new LineCounter();
  lines.addNewLine(0);
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) lines.addNewLine(at + 1);
  return (offset) => positionIn(file, lines, offset);
}

function positionIn(file: string, lines: LineCounter, offset: number): DocumentPosition {
  const { line, col } = lines.linePos(offset);
  // The counter returns 0 for an empty text, which has no lines.
  return { file, line: Math.max(line, 1), column: Math.max(col, 1) };
}

/** After any other error the tree is unreliable, and its problems would be misleading. */
function breaks({ code }: YAMLError): boolean {
  return code !== 'TAG_RESOLVE_FAILED';
}

/** Returns the first error in the text: later ones are mostly its consequences, as with JSON. */
function firstOf(errors: readonly YAMLError[]): readonly YAMLError[] {
  return errors.toSorted((one, other) => one.pos[0] - other.pos[0]).slice(0, 1);
}

function repeatedKeys(document: Document.Parsed, positionOf: (offset: number) => DocumentPosition): Problem[] {
  const problems: Problem[] = [];
  visit(document, {
    Map(_, { items }) {
      const seen = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (seen.has(key.value)) problems.push({ message: REPEATED, path: [], at: positionOf(key.range?.[0] ?? 0) });
        seen.add(key.value);
      }
    },
  });
  return problems;
}

const REPEATED = 'this key is already set above';

function yamlProblem({ code, message, pos }: YAMLError, positionOf: (offset: number) => DocumentPosition): Problem {
  return { message: REWORDED[code] ?? sentence(message), path: [], at: positionOf(pos[0]) };
}

/** Replaces messages of the YAML library that describe its internals, or a construct that the author did not intend. */
const REWORDED: Partial<Record<YAMLError['code'], string>> = {
  BAD_ALIAS: 'expected a value, found a YAML alias without a name: a string that begins with * needs quotes',
  MULTIPLE_DOCS: 'expected one document, found a second one: --- is allowed only at the top',
  NON_STRING_KEY: 'expected a string as key, found something else',
};

function sentence(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1).replace(/\.$/, '');
}

/** Validates JSON with a JSON parser: JSON is almost a subset of YAML, but the YAML parser accepts more. */
function jsonProblems(text: string, positionOf: (offset: number) => DocumentPosition): Problem[] {
  const errors: ParseError[] = [];
  parseJson(text, errors, { disallowComments: true, allowTrailingComma: false });
  // Reports only the first error, as for YAML.
  return errors.slice(0, 1).map(({ error, offset }) => ({
    message: `invalid JSON: ${words(printParseErrorCode(error))}`,
    path: [],
    at: positionOf(offset),
  }));
}

/** Turns `CommaExpected` into `comma expected`. */
function words(code: string): string {
  return code.replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter}`).toLowerCase();
}
