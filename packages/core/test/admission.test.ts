import { describe, expect, it } from 'vitest';
import { Admission } from '../src/pipeline/admission.ts';

describe('admission', () => {
  it('refuses beyond the limit and admits again when somebody has left', () => {
    const admission = new Admission({ connections: 2, pendingHellos: 2 });
    expect([admission.admit(), admission.admit()]).toEqual([undefined, undefined]);
    admission.helloComplete();
    expect(admission.admit()).toMatchObject({ code: 'LIMIT_REACHED', message: 'all 2 connections are in use' });
    admission.released(true);
    expect(admission.admit()).toBeUndefined();
  });

  it('keeps those that owe their hello in a pool of their own', () => {
    const admission = new Admission({ connections: 10, pendingHellos: 1 });
    expect(admission.admit()).toBeUndefined();
    expect(admission.admit()).toMatchObject({ code: 'LIMIT_REACHED', message: '1 connections still owe their hello' });
    admission.helloComplete();
    expect(admission.admit()).toBeUndefined();
    admission.released(false);
    expect(admission.admit()).toBeUndefined();
  });
});
