// Makes the page of the admin server: one file, dist/page.html, with its script and styles in it. Run by `build`, after the compiler.
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build, transform } from 'esbuild';

const FOLDER = new URL('./', import.meta.url);

const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL('main.tsx', FOLDER))],
  bundle: true,
  minify: true,
  format: 'iife',
  target: 'es2022',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  charset: 'utf8',
  legalComments: 'none',
  write: false,
});
const script = outputFiles[0].text.trim();
const css = await readFile(new URL('page.css', FOLDER), 'utf8');
const { code: styles } = await transform(css, { loader: 'css', minify: true, charset: 'utf8' });
const template = await readFile(new URL('page.html', FOLDER), 'utf8');
// Functions, since `$&` in a replacement would have a meaning.
const html = template
  .replace('/* styles */', () => styles.trim())
  .replace('/* script */', () => script.replaceAll('</script', String.raw`<\/script`));
await writeFile(new URL('../dist/page.html', FOLDER), html);
