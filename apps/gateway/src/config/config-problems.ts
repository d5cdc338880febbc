import type { Problem } from '@meshgate/core';
import { closestMatch } from 'leven';
import * as z from 'zod';
import { configSchema } from './config-schema.ts';
import { missingKey } from './config-messages.ts';

type Issue = z.core.$ZodIssue;
type ConfigPath = readonly (string | number)[];

/** Converts the schema's findings in `value` to problems: one per unknown key, without duplicates. */
export function schemaProblems(issues: readonly Issue[], value: unknown): readonly Problem[] {
  const found = issues.flatMap((issue) => findings(issue, [], value));
  const intended = new Set(found.flatMap(({ intended: key }) => (key === undefined ? [] : [key])));
  const isEcho = ({ path }: Problem): boolean => intended.has(pathKey(path)) && isMissing(value, path);
  return found.map(({ problem }) => problem).filter((problem) => !isEcho(problem));
}

interface KeyProblem {
  readonly problem: Problem;
  /** The key that a misspelled one probably means: it is not also reported as missing. */
  readonly intended?: string;
}

function findings(issue: Issue, above: ConfigPath, value: unknown): readonly KeyProblem[] {
  const path = [...above, ...issue.path.map((part) => (typeof part === 'number' ? part : String(part)))];
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(key, path));
  const branch = issue.code === 'invalid_union' ? issue.errors.find(understands) : undefined;
  if (branch !== undefined) return branch.flatMap((inner) => findings(inner, path, value));
  const lacks = issue.code !== 'custom' && isMissing(value, path);
  return [{ problem: { message: lacks ? missingKey(lastOf(path)) : issue.message, path } }];
}

/** Among several permitted forms, the intended one is the form whose only problems are nested. */
function understands(issues: readonly Issue[]): boolean {
  return issues.every(({ code, path }) => path.length > 0 || code === 'unrecognized_keys');
}

function unknownKey(key: string, path: ConfigPath): KeyProblem {
  const known = knownKeys(path);
  // At most half the letters may differ: beyond that it is another word, not a typing error.
  const nearest = closestMatch(key, [...known], { maxDistance: Math.max(1, Math.floor(key.length / 2)) });
  const hint =
    nearest === undefined ? `known keys are ${known.join(', ')}` : `did you mean ${JSON.stringify(nearest)}?`;
  const problem = { message: `unknown key ${JSON.stringify(key)}: ${hint}`, path: [...path, key] };
  return nearest === undefined ? { problem } : { problem, intended: pathKey([...path, nearest]) };
}

/** The part of JSON Schema that is needed to find the keys of a mapping. */
interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
}

/** Built once, and only for a problem: it takes longer than all other steps together. */
function topOfSchema(): SchemaNode {
  schemaOfConfig ??= z.toJSONSchema(configSchema, { io: 'input' }) as SchemaNode;
  return schemaOfConfig;
}

let schemaOfConfig: SchemaNode | undefined;

function knownKeys(path: ConfigPath): readonly string[] {
  const nodes = path.reduce<readonly SchemaNode[]>(
    (reached, part) => reached.flatMap((node) => below(node, part)),
    [topOfSchema()],
  );
  return nodes
    .flatMap(forms)
    .flatMap(({ properties = {} }) => Object.keys(properties))
    .filter((key) => key !== '$schema');
}

function below(node: SchemaNode, part: string | number): readonly SchemaNode[] {
  return forms(node).flatMap(({ items, properties }) => (typeof part === 'number' ? items : properties?.[part]) ?? []);
}

function forms(node: SchemaNode): readonly SchemaNode[] {
  return [node, ...(node.anyOf ?? [])];
}

function isMissing(value: unknown, path: ConfigPath): boolean {
  const parent = path.slice(0, -1).reduce(member, value);
  return path.length > 0 && parent !== undefined && member(parent, lastOf(path)) === undefined;
}

function member(value: unknown, part: string | number): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, part) : undefined;
}

function lastOf(path: ConfigPath): string | number {
  return path.at(-1) ?? '';
}

function pathKey(path: ConfigPath): string {
  return JSON.stringify(path);
}
