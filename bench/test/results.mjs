// Sample results, small enough to read.

const MACHINE = {
  cpu: 'Test CPU',
  cores: 2,
  memoryGib: 8,
  system: 'Test Linux',
  kernel: '6.0',
  node: 'v20.19.0',
};

const CONTESTANTS = [
  { id: 'haproxy', label: 'HAProxy', family: 'peer', version: '2.6' },
  { id: 'haproxy-splice', label: 'HAProxy, splice', family: 'tuned', version: '2.6' },
  { id: 'nginx', label: 'nginx <stream>', family: 'peer', version: '1.22' },
  { id: 'bare', label: 'bare node pipe', family: 'reference', version: 'v20.19.0' },
  {
    id: 'core-uring',
    label: 'Meshgate core, uring',
    family: 'ours',
    transport: 'uring',
    workers: 1,
    version: 'v20.19.0',
  },
  { id: 'core-node', label: 'Meshgate core, node', family: 'ours', transport: 'node', workers: 1, version: 'v20.19.0' },
];

/** As {@link someResults}, with a gateway of one worker and of two. */
export function resultsWithWorkers({ two, allCores, othersShare = 0 }) {
  const results = someResults();
  const gateway = { family: 'ours', transport: 'uring', version: 'v20.19.0' };
  const one = { ...gateway, id: 'gateway-uring', label: 'Meshgate, uring', workers: 1 };
  const many = { ...gateway, id: 'gateway-uring-2w', label: 'Meshgate, uring, 2 workers', workers: 2 };
  const { rate } = results.samples;
  const busy = { failed: 0, proxyCores: 1, allCores, othersShare };
  return {
    ...results,
    contestants: [...results.contestants, one, many],
    samples: {
      ...results.samples,
      rate: { ...rate, [one.id]: [{ perSecond: 10_000, ...busy }], [many.id]: [{ perSecond: two, failed: 0 }] },
    },
  };
}

/** As {@link someResults}, with two paths between two applications. */
export function resultsWithPaths() {
  const path = (id, label, family) => ({ id, label, family, version: 'v20.19.0' });
  return {
    ...someResults(),
    sidecar: {
      contestants: [path('direct', 'direct mutual TLS', 'peer'), path('pair', 'two sidecars', 'ours')],
      samples: {
        'way-latency': {
          direct: [
            { p50Ms: 0.05, p99Ms: 0.1, failed: 0 },
            { p50Ms: 0.1, p99Ms: 0.2, failed: 0 },
          ],
          pair: [
            { p50Ms: 0.15, p99Ms: 0.4, failed: 0 },
            { p50Ms: 0.2, p99Ms: 0.5, failed: 1 },
          ],
        },
      },
    },
  };
}

/** @returns {import('../comparison.mjs').Results} */
export function someResults() {
  return {
    date: '2030-01-02T03:04:05.000Z',
    machine: MACHINE,
    settings: { rounds: 3, seconds: 2 },
    contestants: CONTESTANTS,
    missing: [{ id: 'envoy', label: 'Envoy', why: 'envoy is not installed' }],
    samples: {
      rate: {
        haproxy: rounds('perSecond', [10_000, 9_000, 11_000]),
        nginx: rounds('perSecond', [8_000, 8_500, 8_200]),
        bare: rounds('perSecond', [4_000, 4_000, 4_000]),
        'core-uring': rounds('perSecond', [11_000, 9_900, 12_100]),
        'core-node': [{ perSecond: 3_000, failed: 2 }, null, { perSecond: 3_000, failed: 0 }],
      },
      'down-8': { 'haproxy-splice': rounds('gigabytesPerSecond', [2, 2, 2]) },
    },
  };
}

function rounds(key, values) {
  return values.map((value) => ({ [key]: value, failed: 0 }));
}
