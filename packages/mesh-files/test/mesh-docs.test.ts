import { readFileSync } from 'node:fs';
import { deriveRoutes, type ProxyUpstream } from '@meshgate/mesh';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { meshProxyView, parseMeshConfig, readMesh } from '../src/index.ts';
import { meshFolder, type MeshFileContents, PRIMARY, TRUST_DOMAIN } from './mesh-folder.ts';

const FILES_PAGE = page('mesh-files.md');
const GATEWAYS_PAGE = page('mesh-gateways.md');

describe('docs/mesh-files.md', () => {
  const contents = files(FILES_PAGE);

  it('has valid settings of the plugin', () => {
    const [config] = blocks(FILES_PAGE).filter(({ info }) => info === 'yaml config');
    const { sources } = parse(config?.text ?? '') as { sources: readonly Record<string, unknown>[] };
    for (const { use, ...settings } of sources)
      expect([use, parseMeshConfig(settings).datacenter]).toEqual(['file', 'primary']);
  });

  it.each(['primary', 'secondary'])('has an example whose routes in %s are those of its table', async (datacenter) => {
    const mesh = await readMesh(await meshFolder(contents), { ...PRIMARY, datacenter });
    const catalog = mesh.catalogs.get(datacenter);
    const routes = catalog === undefined ? [] : deriveRoutes(catalog, { wanFederation: false }).routes;
    const rows = routes.map(({ name, serverNames, backends }) => [
      code(name),
      serverNames.map((serverName) => code(serverName.replace(`.${TRUST_DOMAIN}`, ''))).join(', '),
      backends.map(({ address: { host, port } }) => code(`${host}:${port}`)).join(', '),
    ]);
    expect(tables(FILES_PAGE, 'route')[datacenter === 'primary' ? 0 : 1]).toEqual(rows);
  });

  it('says what the proxy of the example dials', async () => {
    const view = meshProxyView(await readMesh(await meshFolder(contents), PRIMARY), 'web-sidecar-proxy');
    const [upstream] = view?.upstreams ?? [];
    expect(upstream).toMatchObject({
      targets: [
        {
          backends: [{ address: { host: '10.0.0.5', port: 8_443 } }],
          target: {
            serverName: `v1.db.default.secondary.internal.${TRUST_DOMAIN}`,
            identities: [`spiffe://${TRUST_DOMAIN}/ns/default/dc/secondary/svc/db`],
          },
        },
      ],
    });
  });

  it.each(blocks(FILES_PAGE).filter(({ info }) => info === 'hcl example'))(
    'has valid examples: $text',
    async ({ text }) => {
      await expect(readMesh(await meshFolder({ 'primary/example.hcl': text }), PRIMARY)).resolves.toBeDefined();
    },
  );
});

describe('docs/mesh-gateways.md', () => {
  const common = files(
    sections(GATEWAYS_PAGE).find((section) => section.startsWith('## Mesh gateway configuration')) ?? '',
  );
  const shown = sections(GATEWAYS_PAGE).filter((section) => tables(section, 'upstream').length > 0);

  it('shows every configuration of the original, and no mode', () => expect(shown).toHaveLength(7));

  it.each(shown.map((section) => [section.split('\n', 1)[0] ?? '', section]))(
    '%s: does what it documents',
    async (_title, section) => {
      const folder = await meshFolder({ ...common, ...files(section) });
      const view = meshProxyView(await readMesh(folder, PRIMARY), 'web-sidecar-proxy');
      const rows = view?.upstreams.map((upstream) => row(upstream, folder));
      expect(rows).toEqual(tables(section, 'upstream')[0]);
    },
  );
});

function row(upstream: ProxyUpstream, folder: string): readonly string[] {
  const { name, bind } = upstream.definition;
  const [target] = upstream.kind === 'reachable' ? upstream.targets : [];
  const dials = target?.backends.map(({ address: { host, port } }) => code(`${host}:${port}`)).join(', ');
  const decidedBy = target?.facts['decidedBy']?.replaceAll(`${folder}/`, '') ?? '';
  return [`${code(`${bind.host}:${bind.port}`)}, ${name}`, code(target?.path ?? ''), dials || 'nobody', decidedBy];
}

function page(name: string): string {
  return readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');
}

/** Sections of a page, each from a heading to the next. */
function sections(text: string): readonly string[] {
  return text.split(/^(?=#{2,3} )/m);
}

function blocks(text: string): readonly { readonly info: string; readonly text: string }[] {
  return Array.from(text.matchAll(/^```([^\n]+)\n([^]*?)^```$/gm), ([, info = '', body = '']) => ({
    info,
    text: body,
  }));
}

/** Blocks labelled with a file name: `hcl primary/web.hcl`. */
function files(text: string): MeshFileContents {
  const named = blocks(text).map(({ info, text: body }) => [info.split(' ')[1] ?? '', body] as const);
  return Object.fromEntries(named.filter(([name]) => name.includes('/')));
}

/** Rows of the tables whose first column has this header, as lists of cells. */
function tables(text: string, head: string): readonly (readonly (readonly string[])[])[] {
  const found = text.matchAll(new RegExp(`^\\| ${head} .*\\n\\|[-| ]+\\n((?:\\|.*\\n)+)`, 'gm'));
  return Array.from(found, ([, rows = '']) => rows.trimEnd().split('\n').map(cells));
}

function cells(line: string): readonly string[] {
  return line
    .slice(1, -1)
    .split('|')
    .map((cell) => cell.trim());
}

function code(text: string): string {
  return `\`${text}\``;
}
