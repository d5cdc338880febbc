import { render } from 'preact';
import { App } from './app.tsx';
import { showPrintable } from './shown-text.ts';

showPrintable();
const root = document.getElementById('page');
if (root !== null) render(<App />, root);
