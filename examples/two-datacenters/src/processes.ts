// What other examples use of this one: programs that run together, on available ports.
export { Company } from './company.ts';
export { eventually } from './eventually.ts';
export type { Attempt } from './eventually.ts';
export { setUpStage } from './folder.ts';
export type { Stage, StageOptions } from './folder.ts';
export type { LogLine, Program } from './program.ts';
export { Progress } from './progress.ts';
export { columns, painter } from './report.ts';
