// Which package may import what: ARCHITECTURE.md draws the picture, these rules keep it true. Each says why it is there.

/** Packages that plug into core. They know core, documents and, where listed in MESH_USERS, mesh; never each other. */
const PLUGINS =
  'sni|filters|documents|mesh|consul-source|file-source|mesh-files|connect|metrics|linux|epoll-transport|uring-transport';
/** They share the system calls. */
const LINUX_USERS = 'epoll-transport|uring-transport';
const MESH_USERS = 'consul-source|mesh-files|connect';

/** Tests, benchmarks, and the package that exists to test core from outside, may import the testkit and tools for tests. */
const TESTS = '(^packages/core-test/|/(test|bench)/|[.]test[.]ts$)';

const forbidden = [
  {
    name: 'no-cycle',
    comment: 'Files that need each other are one file, or a third is missing. Type-only cycles hide the same knot.',
    from: {},
    to: { circular: true },
  },
  {
    name: 'core-imports-nothing',
    comment: 'Core is what everybody depends on: every import of it would be an import of everybody.',
    from: { path: '^packages/core/src/' },
    to: { pathNot: '^packages/core/src/', dependencyTypesNot: ['core'] },
  },
  {
    name: 'plugins-do-not-know-each-other',
    comment: 'A plugin that imports another cannot be used, replaced or published without it.',
    from: { path: `^packages/(${PLUGINS})/src/` },
    to: { path: '^packages/(?!core/)', pathNot: ['^packages/$1/', '^packages/(mesh|documents|linux|sni)/'] },
  },
  {
    name: 'mesh-is-for-those-who-speak-consul',
    comment:
      "Mesh is Consul's data model: only what reads that model, from an agent, from files or for a sidecar, needs it.",
    from: { path: '^packages/', pathNot: [`^packages/(mesh|${MESH_USERS})/`, TESTS] },
    to: { path: '^packages/mesh/' },
  },
  {
    name: 'linux-is-for-its-transports',
    comment:
      'System calls crash the process when they are called wrongly: only transports made of them call them, what tells systemd of the process, what forbids its core dumps, and what has everybody append to the log.',
    from: {
      path: '^(packages|apps)/',
      pathNot: [
        `^packages/(linux|${LINUX_USERS})/`,
        '^apps/gateway/src/run/(append-mode|service-manager|core-dumps)[.]ts$',
        TESTS,
      ],
    },
    to: { path: '^packages/linux/' },
  },
  {
    name: 'testkit-is-for-tests',
    comment: 'Nothing that is shipped needs what it is tested with.',
    from: { path: '^(packages|apps)/', pathNot: ['^packages/testkit/', TESTS] },
    to: { path: '^packages/testkit/' },
  },
  {
    name: 'testkit-imports-core-only',
    comment: 'Third parties use it for plugins of their own, which have nothing to do with ours.',
    from: { path: '^packages/testkit/src/' },
    to: { path: '^packages/(?!core/|testkit/)' },
  },
  {
    name: 'apps-are-the-top',
    comment: 'Composition lives in the app: nobody below may know who assembles them.',
    from: { path: '^packages/' },
    to: { path: '^apps/' },
  },
  {
    name: 'no-deep-import',
    comment:
      'What is in neither its index.ts nor its parts.ts is not offered: import the package by its name. Claims that tests of several packages make stand in `test/claims`.',
    from: { path: '^(?:packages|apps|examples)/([^/]+)/' },
    to: {
      path: '^(?:packages|apps)/([^/]+)/',
      pathNot: ['^[^/]+/$1/', '^packages/[^/]+/(src|dist)/(index|parts)[.]', '^packages/[^/]+/test/claims/'],
    },
  },
  only(
    'container-in-the-app',
    'tsyringe|reflect-metadata',
    '^apps/gateway/',
    'a library that imports a container forces it on its users',
  ),
  only(
    'prom-client-in-metrics',
    'prom-client',
    '^(packages/metrics|apps/gateway|examples/embedded)/',
    'everybody else tells events to observers',
  ),
  only('koffi-in-linux', 'koffi', '^packages/linux/', 'native code stays where it can stand down'),
  only('pino-in-the-app', 'pino|pino-pretty', '^apps/gateway/', 'libraries tell, the app writes'),
  {
    name: 'files-at-the-edge',
    comment:
      'Only what is about files touches the disk (tokens, certificates, unix sockets and what the system knows of names are files, too); everybody else is handed values.',
    from: {
      path: '^packages/',
      pathNot: [
        '^packages/(documents|mesh-files|consul-source|linux|testkit|connect)/',
        '^packages/core/src/(names/|regular-file|transport/(node-listening|stale-socket))',
        TESTS,
      ],
    },
    to: { path: '^(node:)?fs(/promises)?$' },
  },
  {
    name: 'no-drawer',
    comment: 'A file that cannot be named after a concept is not one yet.',
    from: { path: '/(utils?|helpers?|commons?|types|misc|shared)(/|[.][^/]+$)' },
    to: {},
  },
  {
    name: 'declared',
    comment:
      "What is imported stands in the package's own package.json: what happens to be there today may be gone tomorrow.",
    from: { path: '^(packages|apps)/[^/]+/src/' },
    to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown', 'npm-dev'], dependencyTypesNot: ['npm-peer'] },
  },
  {
    name: 'resolvable',
    comment: 'An import that leads nowhere.',
    from: {},
    to: { couldNotResolve: true },
  },
];

/** The npm packages `names` are imported only from `where`. */
function only(name, names, where, reason) {
  return {
    name,
    comment: `${names.replaceAll('|', ' and ')}: ${reason}.`,
    from: { path: '^(packages|apps|examples)/', pathNot: [where, TESTS] },
    to: { path: `(^|/)node_modules/(${names})/` },
  };
}

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: forbidden.map((rule) => ({ severity: 'error', ...rule })),
  options: {
    exclude: { path: '(^|/)coverage/' },
    doNotFollow: { path: '(^|/)(node_modules|dist)/' },
    // Type-only imports count: what a file must know to be understood is a dependency.
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    preserveSymlinks: false,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['types', 'import', 'node', 'default'] },
  },
};
