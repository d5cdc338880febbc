/**
 * A configuration from its template: `{{name}}` is a value, and the lines between `{{#backends}}` and `{{/backends}}`
 * are repeated for each backend, whose own values take precedence.
 *
 * @param {string} template
 * @param {Readonly<Record<string, string | number>>} values
 * @param {readonly Readonly<Record<string, string | number>>[]} backends
 * @returns {string}
 */
export function fill(template, values, backends) {
  const spread = template.replaceAll(/^\{\{#backends\}\}\n([^]*?)^\{\{\/backends\}\}\n/gm, (_, block) =>
    backends.map((backend) => substitute(block, { ...values, ...backend })).join(''),
  );
  return substitute(spread, values);
}

function substitute(text, values) {
  return text.replaceAll(/\{\{(\w+)\}\}/g, (_, name) => {
    if (values[name] === undefined) throw new Error(`expected a value for {{${name}}} of the template, found none`);
    return String(values[name]);
  });
}
