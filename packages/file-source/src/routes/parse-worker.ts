import { parentPort, workerData } from 'node:worker_threads';
import type { FileText } from '../files.ts';
import { parseInPlace } from './parse.ts';

// The body of the thread that parse.ts starts: one set of files in, their routes and problems out.
parentPort?.postMessage(parseInPlace(workerData as readonly FileText[]));
