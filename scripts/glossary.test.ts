// Names and phrases that this field does not use, and that have been replaced: they must not come back.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What was replaced, and what stands for it now. Identifiers are found as whole words, in upper and lower case as they stand here. */
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
];

/** Files and folders in which some are left, until they are replaced there as well. It only ever gets shorter. */
const LEFT: readonly string[] = [];

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
    expect(found.filter((place) => !LEFT.some((folder) => place.startsWith(folder)))).toEqual([]);
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
    const shared = [...declared].filter(([, places]) => places.length > 1);
    expect(shared.map(([name, places]) => `${name}: ${places.join(', ')}`)).toEqual([]);
  });
});

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
