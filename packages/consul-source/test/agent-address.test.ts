import { describe, expect, it } from 'vitest';
import { parseAgentAddress } from '../src/agent-address.ts';

describe('the address of an agent', () => {
  it.each([
    ['127.0.0.1:8500', { origin: 'http://127.0.0.1:8500', prefix: '' }],
    [':8500', { origin: 'http://127.0.0.1:8500', prefix: '' }],
    ['[::1]:8500', { origin: 'http://[::1]:8500', prefix: '' }],
    ['HTTPS://Agent.Example:8501', { origin: 'https://agent.example:8501', prefix: '' }],
    ['http://proxy:80/consul/', { origin: 'http://proxy', prefix: '/consul' }],
    ['unix:///run/consul.sock', { socketPath: '/run/consul.sock' }],
  ])('%s', (written, parts) => {
    expect(parseAgentAddress(written)).toMatchObject({ kind: 'address', ...parts });
  });

  it.each([
    ['http://u:p@h:1', 'u:p', 'http://h:1'],
    ['http://u:p@ss@h:1', 'u:p@ss', 'http://h:1'],
    ['https://u%40x:p%2Fw@h:1/consul', 'u@x:p/w', 'https://h:1/consul'],
    // Invalid escapes are kept literally.
    ['http://u:50%@h:1', 'u:50%', 'http://h:1'],
    ['http://u:p%ZZ@h:1', 'u:p%ZZ', 'http://h:1'],
  ])('%s has a user and a password, which are not shown', (written, auth, shown) => {
    expect(parseAgentAddress(written)).toMatchObject({ kind: 'address', auth, shown });
  });

  it.each([
    ['ftp://h:1', /found ftp:\/\/h:1$/],
    ['unix://', /found unix:\/\/$/],
    ['127.0.0.1:99999', /found 127\.0\.0\.1:99999$/],
    ['', /found $/],
    ['8500', /found 8500: a port needs a host, as in 127\.0\.0\.1:8500$/],
    ['http://8500/consul', /a port needs a host/],
    ['http://127.0.0.1:0', /nothing listens on port 0$/],
    [':0', /nothing listens on port 0$/],
    ['http://h:1?token=s3cret', /found http:\/\/h:1\?…, which must not have a query$/],
    ['http://h:1#s3cret', /found http:\/\/h:1\?…, which must not have a query$/],
    ['https://fc00::2:8501', /an IPv6 address needs brackets, https:\/\/\[fc00::2\]:8501$/],
    ['http://u:s3cret/w@h:1', /found http:\/\/…@h:1$/],
    ['ftp://u:s3@cret@h:1', /found ftp:\/\/…@h:1$/],
  ])('%s is rejected, and no secret is shown', (written, words) => {
    const parsed = parseAgentAddress(written);
    expect(parsed).toMatchObject({ kind: 'invalid', reason: expect.stringMatching(words) as string });
    expect(JSON.stringify(parsed)).not.toMatch(/s3|cret/);
  });
});
