// The public API of each package is in packages/*/api, so that a change of it is visible in the diff of a commit.
//
//   node scripts/api-reports.mjs            exit status 1 when a report differs from the built package
//   node scripts/api-reports.mjs --update   writes the reports
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { Extractor, ExtractorConfig, ExtractorLogLevel } from '@microsoft/api-extractor';
import { ROOT } from './workspace.mjs';

/** The entry points of a package, and the names of their reports. */
const ENTRIES = { index: '', parts: '-parts' };

const isUpdate = process.argv.includes('--update');
const scratch = mkdtempSync(join(tmpdir(), 'meshgate-api-'));
try {
  const stale = reports().filter(({ file, content }) => !isCurrent(file, content));
  for (const { file, content } of stale) {
    if (isUpdate) write(file, content);
    else
      console.error(
        `${file}: expected what the package offers, found another: npm run api:update, and look at the diff`,
      );
  }
  process.exitCode = stale.length === 0 || isUpdate ? 0 : 1;
} finally {
  rmSync(scratch, { recursive: true });
}

function isCurrent(file, content) {
  return existsSync(join(ROOT, file)) && readFileSync(join(ROOT, file), 'utf8') === content;
}

function write(file, content) {
  mkdirSync(join(ROOT, file, '..'), { recursive: true });
  writeFileSync(join(ROOT, file), content);
  console.log(`${file}: written`);
}

/** For every published package. */
function reports() {
  const folders = readdirSync(join(ROOT, 'packages')).map((name) => join(ROOT, 'packages', name));
  return folders.filter(isPublished).flatMap((folder) => {
    const entries = Object.keys(ENTRIES).filter((entry) => existsSync(join(folder, 'src', `${entry}.ts`)));
    return entries.map((entry) => report(folder, entry));
  });
}

function isPublished(folder) {
  const manifest = join(folder, 'package.json');
  return existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).private !== true;
}

function report(folder, entry) {
  const name = `${relative(join(ROOT, 'packages'), folder)}${ENTRIES[entry]}`;
  const config = ExtractorConfig.prepare({
    packageJsonFullPath: join(folder, 'package.json'),
    configObjectFullPath: undefined,
    configObject: {
      projectFolder: folder,
      mainEntryPointFilePath: join(folder, 'dist', `${entry}.d.ts`),
      compiler: { tsconfigFilePath: join(folder, 'tsconfig.json') },
      newlineKind: 'lf',
      apiReport: { enabled: true, reportFileName: name, reportFolder: scratch, reportTempFolder: join(scratch, 'new') },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      // check-docs.mjs checks docstrings, and no name here has a release tag: what may change has an entry point of its
      // own.
      messages: {
        compilerMessageReporting: { default: { logLevel: ExtractorLogLevel.Error } },
        extractorMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
        tsdocMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
      },
    },
  });
  Extractor.invoke(config, { localBuild: true, messageCallback: printErrorsOnly });
  const file = `${name}.api.md`;
  return {
    file: join('packages', relative(join(ROOT, 'packages'), folder), 'api', file),
    content: read(join(scratch, file)),
  };
}

function printErrorsOnly(message) {
  if (message.logLevel !== 'error') message.handled = true;
}

function read(file) {
  return readFileSync(file, 'utf8');
}
