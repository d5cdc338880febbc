// Results as a run would find them, small enough to be read.

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
    id: 'core-epoll',
    label: 'Meshgate core, epoll',
    family: 'ours',
    transport: 'epoll',
    workers: 1,
    version: 'v20.19.0',
  },
  { id: 'core-node', label: 'Meshgate core, node', family: 'ours', transport: 'node', workers: 1, version: 'v20.19.0' },
];

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
        'core-epoll': rounds('perSecond', [11_000, 9_900, 12_100]),
        'core-node': [{ perSecond: 3_000, failed: 2 }, null, { perSecond: 3_000, failed: 0 }],
      },
      'down-8': { 'haproxy-splice': rounds('gigabytesPerSecond', [2, 2, 2]) },
    },
  };
}

function rounds(key, values) {
  return values.map((value) => ({ [key]: value, failed: 0 }));
}
