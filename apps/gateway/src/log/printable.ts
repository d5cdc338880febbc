// Strings from a catalog, a client or an agent may contain anything: escape sequences, line breaks that forge a log
// line, bidirectional marks.

/**
 * Returns `text` on one line, safe for terminals: writes control characters, bidirectional marks and zero-width
 * characters as `\u001b`.
 */
export function printable(text: string): string {
  return text.replace(CONTROLS, escaped);
}

/** Joins the problems of a message, one per line, to one sentence for reasons, warnings and log lines. */
export function oneLine(message: string): string {
  return message.replaceAll('\n', '; ');
}

/** Like {@link printable}, for text of several lines. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

/**
 * Makes the strings in JSON printable, even when JSON is shown as it is: JSON itself only escapes characters below
 * U+0020.
 */
export function printableJson(line: string): string {
  return line.replace(CONTROLS_THAT_JSON_LEAVES, escaped);
}

/** Formats `value` as JSON for people and programs: indented, with a final line break and printable strings. */
export function jsonText(value: object): string {
  return `${printableJson(JSON.stringify(value, null, 2))}\n`;
}

/** Returns a line of JSON whose decoded strings have no control characters except for line breaks and tabs. */
export function withoutControls(line: string): string {
  return printableJson(line)
    .replace(ESCAPES_OF_CONTROLS, '\\$1')
    .replace(/\\[bfr]/g, ' ');
}

/** Escapes each UTF-16 code unit, as JSON does. */
function escaped(character: string): string {
  return Array.from({ length: character.length }, (_, index) => {
    return `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`;
  }).join('');
}

// DEL and C1 (ECMA-48); bidirectional marks and overrides (Unicode UAX 9); line and paragraph separators; zero-width
// characters, which make two names look alike, including tags (U+E0000 to U+E007F).
const UNSEEN =
  '\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb';
const TAGS = '\\udb40[\\udc00-\\udc7f]';
const CONTROLS = new RegExp(`[\\u0000-\\u001f${UNSEEN}]|${TAGS}`, 'g');
const CONTROLS_THAT_JSON_LEAVES = new RegExp(`[${UNSEEN}]|${TAGS}`, 'g');
const ESCAPES_OF_CONTROLS = /(?<!\\)(\\u(?:00[01][0-9a-f]|00[7-9][0-9a-f]|20[0-9a-f]{2}))/g;
