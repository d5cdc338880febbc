// Everything that a package exports has a docstring: the symbol, every member whose type is not self-explanatory, and
// almost all others. Users first read the API of a package in their editor.
//
//   node scripts/check-docs.mjs          exit status 1 when something is undocumented, one line each
import { existsSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';
import { ROOT } from './workspace.mjs';

/** Members that mean the same everywhere: the interface documents them. */
const PLAIN_MEMBERS = new Set(['constructor', 'name', 'message', 'toString']);

/** The entry points of packages: the stable one, and the one that may change. */
const ENTRIES = ['index.ts', 'parts.ts'];

/** Share of all members that must be documented. */
const MIN_SHARE_DOCUMENTED = 0.95;

const bare = new Set();
let memberCount = 0;
const gaps = new Set(indexes().flatMap(undocumented));
for (const gap of gaps) console.error(gap);
const share = 1 - bare.size / memberCount;
if (share < MIN_SHARE_DOCUMENTED) {
  for (const member of bare) console.error(member);
  console.error(
    `expected ${MIN_SHARE_DOCUMENTED * 100} % of all members with a docstring, found ${(share * 100).toFixed(1)} %`,
  );
}
process.exitCode = gaps.size === 0 && share >= MIN_SHARE_DOCUMENTED ? 0 : 1;

function indexes() {
  const packages = readdirSync(join(ROOT, 'packages')).map((name) => join(ROOT, 'packages', name));
  const entries = packages.flatMap((folder) => ENTRIES.map((name) => join(folder, 'src', name)));
  return entries.filter((file) => existsSync(file));
}

/** The exports of `index` without a docstring, one line each. */
function undocumented(index) {
  const settings = join(index, '..', '..', 'tsconfig.json');
  const { options } = ts.getParsedCommandLineOfConfigFile(
    settings,
    { noEmit: true },
    { ...ts.sys, onUnRecoverableConfigFileDiagnostic },
  );
  const program = ts.createProgram([index], options);
  const checker = program.getTypeChecker();
  const file = checker.getSymbolAtLocation(program.getSourceFile(index));
  if (file === undefined) return [];
  return checker.getExportsOfModule(file).flatMap((exported) => {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    const owner = symbol.declarations?.[0];
    // Re-exports are documented in their own package.
    if (owner === undefined || !owner.getSourceFile().fileName.startsWith(join(index, '..'))) return [];
    countBare(symbol);
    return [symbol, ...members(symbol)].filter((each) => !isDocumented(each)).map((each) => describe(symbol, each));
  });

  /** Members without a docstring, which their type or an interface may document. */
  function countBare(symbol) {
    for (const each of members(symbol)) {
      memberCount += 1;
      if (PLAIN_MEMBERS.has(each.name) || each.getDocumentationComment(checker).length > 0) continue;
      if (!isTag(each.valueDeclaration) && !isPromisedByAnInterface(each)) bare.add(describe(symbol, each));
    }
  }

  function isDocumented(symbol) {
    return (
      PLAIN_MEMBERS.has(symbol.name) ||
      symbol.getDocumentationComment(checker).length > 0 ||
      isDocumentedByItsType(symbol.valueDeclaration) ||
      isPromisedByAnInterface(symbol)
    );
  }

  /**
   * `readonly route: Route` needs no more explanation than `Route`, nor does a discriminant. Numbers, strings, unions
   * and functions do.
   */
  function isDocumentedByItsType(declaration) {
    let type = declaration?.type;
    while (type !== undefined && (ts.isTypeOperatorNode(type) || ts.isArrayTypeNode(type)))
      type = ts.isArrayTypeNode(type) ? type.elementType : type.type;
    if (type === undefined || ts.isLiteralTypeNode(type)) return type !== undefined;
    if (!ts.isTypeReferenceNode(type)) return false;
    const named = checker.getSymbolAtLocation(type.typeName);
    const target = named && named.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(named) : named;
    return target !== undefined && target.getDocumentationComment(checker).length > 0;
  }

  /** A class that implements an interface inherits its documentation. */
  function isPromisedByAnInterface(symbol) {
    const owner = symbol.valueDeclaration?.parent;
    if (owner === undefined || !ts.isClassLike(owner)) return false;
    const promises = (owner.heritageClauses ?? []).filter(({ token }) => token === ts.SyntaxKind.ImplementsKeyword);
    return promises
      .flatMap(({ types }) => types)
      .some((type) => checker.getTypeAtLocation(type).getProperty(symbol.name) !== undefined);
  }
}

/** `kind: 'hello'`: the discriminant of a union, which is explained there. */
function isTag(declaration) {
  return declaration?.type !== undefined && ts.isLiteralTypeNode(declaration.type);
}

/** The members that users of `symbol` see: those declared in an interface or class, without private ones. */
function members(symbol) {
  return (symbol.declarations ?? []).flatMap((declaration) => {
    const body = ts.isTypeAliasDeclaration(declaration) ? declaration.type : declaration;
    const listed =
      ts.isInterfaceDeclaration(body) || ts.isClassLike(body) || ts.isTypeLiteralNode(body) ? body.members : [];
    // The docstring of an interface with a single method is enough.
    if (listed.length === 1 && ts.isMethodSignature(listed[0])) return [];
    return [...listed].flatMap((member) => (isPublic(member) && member.symbol !== undefined ? [member.symbol] : []));
  });
}

function isPublic(member) {
  const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;
  if (ts.isConstructorDeclaration(member) || ts.isSetAccessor(member)) return false;
  return (ts.getCombinedModifierFlags(member) & hidden) === 0 && !(member.name && ts.isPrivateIdentifier(member.name));
}

function describe(owner, symbol) {
  const [declaration] = symbol.declarations;
  const source = declaration.getSourceFile();
  const { line, character } = source.getLineAndCharacterOfPosition(declaration.getStart());
  const name = owner === symbol ? symbol.name : `${owner.name}.${symbol.name}`;
  return `${relative(ROOT, source.fileName)}:${line + 1}:${character + 1}: ${name}: expected a docstring, found none`;
}

function onUnRecoverableConfigFileDiagnostic({ messageText }) {
  throw new Error(ts.flattenDiagnosticMessageText(messageText, '\n'));
}
