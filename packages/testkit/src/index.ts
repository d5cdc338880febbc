export { needs } from './needs.ts';
export type { DeclareSuite } from './needs.ts';
