import { nodeTransport } from '@meshgate/core';
import { describeTransport } from '@meshgate/testkit';

describeTransport('the node transport', nodeTransport);
