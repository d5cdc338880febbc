import { describeObserver } from '@meshgate/testkit';
import { Registry } from 'prom-client';
import { prometheusObserver } from '../src/index.ts';

describeObserver('the Prometheus observer', () => prometheusObserver({ registry: new Registry() }));
