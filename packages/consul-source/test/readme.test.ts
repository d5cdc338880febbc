import { expect, it } from 'vitest';
import { namesRouted } from './example.ts';
import { Consul, describeWithConsul } from './real-consul.ts';
import { register } from './register.ts';

describeWithConsul('the example of the README', () => {
  it('names what a gateway of the agent routes', async () => {
    await using consul = await Consul.start();
    await register(consul, 'db', { address: '10.0.0.1' });
    expect(await namesRouted(consul.address)).toEqual([expect.stringMatching(/^db\.default\.dc1\.internal\./)]);
  });
});
