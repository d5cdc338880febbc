// Names and phrases that this field does not use, and that have been replaced: they must not come back.
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What was replaced, and by what. Identifiers are matched as whole words, with this capitalisation. */
const REPLACED: readonly (readonly [old: RegExp, standard: string])[] = [
  [/\bFlights?\b|\blanded\b/, 'Session, onClosed'],
  [/\bFarewells?\b|\bfarewells?\b/, 'rejection'],
  [/\b[Gg]reet(?:er|ed|s)?\b/, 'connection filter, handshake'],
  [/\bSourceTrack\b|\bfirstWord\b/, 'SourceFollower, firstSnapshot'],
  [/\bsource\.spoke\b|\bspoken?\b/, 'source.updated, reported, has a snapshot'],
  [
    /\b(?:RouteTeller|ServiceAnswers|FollowedSet|Notices|NewsReader|News|Relay|Wakeup)\b|\bSeldom\(/,
    'see the terms in use',
  ],
  [/\b[Tt]ally\b|\bheard\(|\bdeparted\(|\btelling\b/, 'MetricsAggregator, update, retire'],
  [/\brecall\(|\bhurry\(/, 'apply, flush, force'],
  [/\bArchived?\b|\barchive\b/, 'SnapshotStore, stored'],
  [/\bguessNoAges\b|\bwayTo\b|\bputTogether\b/, 'disablePretenuring, watch path, compose'],
  [
    /what it said last stays in use|has said nothing yet|nothing to warn of/,
    'keeping last routes; no routes yet; warnings cleared',
  ],
  [/stands? down\b/, 'unavailable, using …'],
  [/that nobody caught/, 'uncaught exception'],
  [/files are read again/, 'reloading route files'],
  [/hello not whole|owe their (?:hello|ClientHello)/, 'ClientHello incomplete; pending handshakes'],
  [/it is waited for/, 'waiting for …'],
  [/none of this machine/, 'address not assigned to a local interface'],
  [/(?:expected|expecting\(')\(?'?a text\b|texts by name/, 'expected a string; a map of strings'],
  [/accepting (?:pauses|goes on)/, 'accept paused, accept resumed'],
  [/\bput aside\b/, 'ejected'],
  [/until it is told to leave/, 'run a mesh gateway'],
  [/\bmend(?:s|ed|ing)?\b/, 'fix, repair, correct'],
  [/\bswallow(?:s|ed)?\b/, 'drop'],
  [/\bturned away\b/, 'refused, rejected'],
  [/\bwhoever\b|\bfor ever\b|\ball the same\b/, 'the client, the caller; forever; nevertheless'],
  [/\b(?:is|are) told\b/, 'is notified, receives'],
];

/** Files and folders that still have some, until they are replaced there as well. Entries are only ever removed. */
const NOT_YET: readonly string[] = [];

describe('the terms of the field', () => {
  it('are used in code and documentation, and not those that were replaced', () => {
    const found = files().flatMap((file) => {
      const lines = readFileSync(join(ROOT, file), 'utf8').split('\n');
      return lines.flatMap((line, index) =>
        REPLACED.filter(([old]) => old.test(line)).map(
          ([old, standard]) => `${file}:${index + 1}: ${old.exec(line)?.[0]} (better: ${standard})`,
        ),
      );
    });
    expect(found.filter((line) => !NOT_YET.some((folder) => line.startsWith(folder)))).toEqual([]);
  });
});

/** Words that are not used in identifiers and file names, including those of tests, and the standard terms for them. */
const RETIRED_WORDS: Readonly<Record<string, string>> = {
  ...retired('session, run, accept, close', 'flight flights fly launch launched landed'),
  ...retired('rejection, closing', 'farewell farewells'),
  ...retired('connection filter, handshake', 'greet greets greeter greeted met meets'),
  ...retired('updated, reported, has a snapshot', 'spoke spoken speak speaks news'),
  ...retired('report, print, message, output', 'said say says'),
  ...retired('StateLossGuard, apply, observation', 'recall account'),
  ...retired('query, request', 'ask asks asked asking'),
  ...retired('invalidate', 'doubt doubts'),
  ...retired('WatchSet, wanted', 'want'),
  ...retired('warnings', 'notice notices'),
  ...retired('MetricsAggregator, update, retire', 'tally heard hear hears'),
  ...retired('notify, report, observed', 'tell tells told telling'),
  ...retired('signal', 'wakeup'),
  ...retired('LogThrottle', 'seldom'),
  ...retired('flush, force', 'hurry hurried'),
  ...retired('SnapshotStore, stored', 'archive archived'),
  ...retired('state, status, established', 'standing stands'),
  ...retired('direction, path, variant', 'way ways course'),
  ...retired('matches, selected', 'meant'),
  ...retired('continues, resumed', 'goes'),
  ...retired('response', 'answer answers'),
  ...retired('query', 'question questions'),
  ...retired('location, position, scope, slot', 'place places'),
  ...retired('remaining; disconnected, closed', 'left'),
  ...retired('in use, occupied; acquired; accepted, installed', 'taken'),
  ...retired('complete, full, all', 'whole'),
  ...retired('overdue, expired, delayed, later', 'late'),
  ...retired('strings, contents', 'texts'),
  ...retired('attempts', 'tries'),
};

/** Identifiers that contain one of these words with another meaning, and why it is correct. */
const OTHER_MEANINGS: Readonly<Record<string, string>> = {
  inFlight: 'sent and not yet answered: the term of TCP and HTTP/2',
  isInFlight: 'as above',
  inFlightBytes: 'as above',
  MAX_IN_FLIGHT_BYTES: 'as above',
  MAX_IN_FLIGHT: 'as above',
  launch: "Playwright's method that starts a browser",
  launchChromium: 'starts a browser with it',
  NameAnswer: 'the answer section of a DNS message (RFC 1035, 4.1)',
  mayWantOne: 'an optional certificate: TLS servers request or want one',
  isWholeNumber: 'a whole number, an integer: the term of mathematics',
  tries: "the option of Node's `dns.Resolver`",
};

/** Sections of a DNS message (RFC 1035, 4.1), and the files that read and write such messages. */
const TERMS_OF_DNS: ReadonlySet<string> = new Set(['question', 'answer', 'answers']);
const OF_DNS = /\/core\/src\/names\/|name-server|address-book|system-names/;

function retired(standard: string, words: string): Readonly<Record<string, string>> {
  return Object.fromEntries(words.split(' ').map((word) => [word, standard]));
}

describe('identifiers and file names', () => {
  it('contain no word that the glossary has replaced', { timeout: 60_000 }, () => {
    const found = new Set<string>();
    for (const file of codeFiles()) {
      for (const name of [basename(file).replace(/(?:\.test)?\.\w+$/, ''), ...identifiersOf(file)]) {
        if (Object.hasOwn(OTHER_MEANINGS, name.replace(/^#/, ''))) continue;
        for (const word of wordsOf(name)) {
          if (TERMS_OF_DNS.has(word) && OF_DNS.test(file)) continue;
          if (Object.hasOwn(RETIRED_WORDS, word)) found.add(`${file}: ${name} (better: ${RETIRED_WORDS[word]})`);
        }
      }
    }
    expect([...found]).toEqual([]);
  });

  it.each(Object.keys(OTHER_MEANINGS))('need the exception for %s', (exception) => {
    expect(
      codeFiles().some((file) => identifiersOf(file).has(exception) || identifiersOf(file).has(`#${exception}`)),
    ).toBe(true);
  });
});

describe('the name of a type', () => {
  it('has one meaning: no two files of packages and apps declare the same name', () => {
    const declared = new Map<string, string[]>();
    for (const file of files().filter((name) => name.endsWith('.ts'))) {
      for (const [, name = ''] of readFileSync(join(ROOT, file), 'utf8').matchAll(DECLARATION)) {
        declared.set(name, [...(declared.get(name) ?? []), file]);
      }
    }
    const shared = [...declared].filter(([, declaring]) => declaring.length > 1);
    expect(shared.map(([name, declaring]) => `${name}: ${declaring.join(', ')}`)).toEqual([]);
  });
});

/** Sources, tests, scripts and benchmarks. */
function codeFiles(): readonly string[] {
  const tops = ['packages', 'apps', 'examples'].flatMap((top) =>
    readdirSync(join(ROOT, top)).flatMap((name) =>
      ['src', 'test', 'page', 'bench'].map((part) => join(top, name, part)),
    ),
  );
  return [...tops, 'scripts', 'bench'].flatMap((top) => entries(top)).filter((file) => /\.(?:tsx?|mjs)$/.test(file));
}

const identifiers = new Map<string, ReadonlySet<string>>();

function identifiersOf(file: string): ReadonlySet<string> {
  const known = identifiers.get(file);
  if (known !== undefined) return known;
  const names = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node) || ts.isPrivateIdentifier(node)) names.add(node.text);
    ts.forEachChild(node, visit);
  };
  const kind = file.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS;
  visit(ts.createSourceFile(file, readFileSync(join(ROOT, file), 'utf8'), ts.ScriptTarget.Latest, false, kind));
  identifiers.set(file, names);
  return names;
}

/** `isInFlight` is `is`, `in`, `flight`; `MAX_BYTES` is `max`, `bytes`. */
function wordsOf(name: string): readonly string[] {
  return name
    .replace(/([a-z\d])([A-Z])/g, '$1 $2')
    .replace(/([A-Z]+)([A-Z][a-z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z]+/);
}

/** A type that a file declares at its top level, exported or not. */
const DECLARATION = /^(?:export )?(?:abstract )?(?:interface|type|class) ([A-Z]\w*)/gm;

/** Sources of packages and apps, and the documentation but for decision records, which tell what was. */
function files(): readonly string[] {
  const roots = ['packages', 'apps'].flatMap((top) =>
    readdirSync(join(ROOT, top)).map((name) => join(top, name, 'src')),
  );
  return [...roots, 'docs']
    .flatMap((top) => entries(top))
    .filter((file) => /\.(?:ts|md)$/.test(file) && !file.startsWith(join('docs', 'adr')))
    .concat(['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md']);
}

function entries(top: string): readonly string[] {
  try {
    return readdirSync(join(ROOT, top), { recursive: true, encoding: 'utf8' }).map((name) => join(top, name));
  } catch {
    return [];
  }
}
