import { formatProblem } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { openHcl } from '../src/index.ts';

describe('HCL is parsed as Consul parses it', () => {
  it.each<[string, string, unknown]>([
    ['nothing', '', {}],
    [
      'values of every kind',
      'a = "x"\nb = 8080\nc = true\nd = -1.5e3\ne = 0x1F\nf = 0600',
      { a: 'x', b: 8080, c: true, d: -1500, e: 31, f: 384 },
    ],
    [
      'numbers with a bare point or a signed exponent',
      'a = 1.\nb = .5\nc = 1e-3\nd = -1.5E+3\ne = -010',
      { a: 1, b: 0.5, c: 0.001, d: -1500, e: -8 },
    ],
    ['a key in quotes, with dots and hyphens', '"a b" = 1\nc.d-e_f = 2', { 'a b': 1, 'c.d-e_f': 2 }],
    ['a block', 'proxy { port = 1 }', { proxy: { port: 1 } }],
    [
      'an object, with commas or without',
      'a = { b = 1, c = 2 }\nd = { e = 1\nf = 2 }',
      { a: { b: 1, c: 2 }, d: { e: 1, f: 2 } },
    ],
    ['blocks of one name as a list', 'a { b = 1 }\na { b = 2 }\na { b = 3 }', { a: [{ b: 1 }, { b: 2 }, { b: 3 }] }],
    ['a block with a label', 'subsets "v1" { filter = "x" }', { subsets: { v1: { filter: 'x' } } }],
    ['a block with two labels', 'a "b" "c" { d = 1 }', { a: { b: { c: { d: 1 } } } }],
    ['a list with a comma at its end', 'a = [ 1, "b", [ true, ], ]', { a: [1, 'b', [true]] }],
    [
      'blocks in the objects of a list',
      'a = [ { b { c = "d" } }, { b { c = "e" } }, ]',
      { a: [{ b: { c: 'd' } }, { b: { c: 'e' } }] },
    ],
    ['an empty list and an empty object', 'a = []\nb = {}', { a: [], b: {} }],
    ['comments of three kinds', '# one\na = 1 // two\n/* three\n*/ b = 2 /**/ # end', { a: 1, b: 2 }],
    ['escapes', String.raw`a = "\" \\ \n \t \u00e9 \U0001F600 \x41 \101"`, { a: '" \\ \n \t é 😀 A A' }],
    ['an interpolation, which stays as it is', 'a = "x${ f("y") }z $"', { a: 'x${ f("y") }z $' }],
    ['a heredoc', 'a = <<EOF\none\n  two\nEOF\nb = 1', { a: 'one\n  two\n', b: 1 }],
    ['an indented heredoc', 'a = <<-EOF\n    one\n      two\n    EOF\nb = 1', { a: 'one\n  two\n', b: 1 }],
    [
      'an indented heredoc, by its marker alone: whole where a line is further left',
      'a = <<-EOF\n    one\n  two\n    EOF\nb = <<-EOF\n  one\n\n  EOF\nc = <<-EOF\n\t  one\n\tEOF\n',
      { a: '    one\n  two\n', b: '  one\n\n', c: '  one\n' },
    ],
    ['a heredoc with line breaks of Windows', 'a = <<EOF\r\none\r\nEOF\r\n', { a: 'one\n' }],
    ['half of a character pair, which stands for nothing', String.raw`a = "\ud800x"`, { a: '\uFFFDx' }],
    [
      'line breaks of Windows, and a byte order mark',
      '\uFEFFa = 1\r\nb {\r\n c = "d"\r\n}\r\n',
      { a: 1, b: { c: 'd' } },
    ],
    ['names of other alphabets', 'größe = 1', { größe: 1 }],
    ['a key that means something to JavaScript', '__proto__ { a = 1 }', JSON.parse('{ "__proto__": { "a": 1 } }')],
  ])('%s', (_claim, text, value) => {
    const opened = openHcl(text, 'f.hcl');
    if (opened.kind === 'broken') throw new Error(opened.problems.map(formatProblem).join('\n'));
    expect(opened.root.plain()).toEqual(value);
    expect(opened.problems).toEqual([]);
  });
});

describe('a mistake in HCL has its position', () => {
  it.each([
    ['service {\n  name = "web"\n', '3:1: invalid HCL: expected a name, found the end of the file'],
    ['service {\n  name "web"\n}', '3:1: invalid HCL: expected =, { or a label in quotes, found }'],
    ['a =\nb = 1', '2:1: invalid HCL: expected a value (a string needs quotes), found b'],
    ['mode = local', '1:8: invalid HCL: expected a value (a string needs quotes), found local'],
    ['a = null', '1:5: invalid HCL: expected a value (a string needs quotes), found null'],
    ['a = "x\nb = "y"', '1:5: invalid HCL: expected " at the end of this string, found the end of the line'],
    ['timeout = 10s', '1:11: invalid HCL: expected a number or a string in quotes, found 10s'],
    ['a = 08', '1:5: invalid HCL: expected a number, found 08, which its leading 0 makes octal'],
    ['a = 9223372036854775808', '1:5: invalid HCL: expected a number that fits 64 bits, found 9223372036854775808'],
    ['a = 1e400', '1:5: invalid HCL: expected a number that fits 64 bits, found 1e400'],
    ['a = "\\400"', '1:6: invalid HCL: expected an escape such as \\n, \\" or \\u00e9, found \\4'],
    ['a = "x\0"', '1:7: invalid HCL: expected a string without NUL, found one'],
    ['a = [ 1 2 ]', '1:9: invalid HCL: expected , or ], found the number 2'],
    ['a = [ { b = 1 } { c = 2 } ]', '1:17: invalid HCL: expected , or ], found {'],
    ['a = [,]', '1:6: invalid HCL: expected a value, found ,'],
    ['a = }', '1:5: invalid HCL: expected a value, found }'],
    ['}', '1:1: invalid HCL: expected a name, found }'],
    ['a = 1\n/* b', '2:1: invalid HCL: expected */ at the end of this comment, found the end of the file'],
    ['a = "\\q"', '1:6: invalid HCL: expected an escape such as \\n, \\" or \\u00e9, found \\q'],
    ['a = "\\UFFFFFFFF"', '1:6: invalid HCL: expected an escape such as \\n, \\" or \\u00e9, found \\U'],
    ['a = "${ b', '1:6: invalid HCL: expected } at the end of this ${, found none'],
    ['a = <<EOF\nb\n', '1:5: invalid HCL: expected a line that holds only EOF, found the end of the file'],
    ['a = << b', '1:5: invalid HCL: expected << with a marker and a line break, found something else'],
    ['a ; b', '1:3: invalid HCL: expected a name, a value or a bracket, found ";"'],
    ['a = 1\na = 2', '2:1: this key is already set above'],
    ['a { b = 1 }\na = 2', '2:1: this key is already set above'],
    ['a = [ { b = 1 } ]\na { b = 2 }', '2:1: this key is already set above'],
    [`a = ${'['.repeat(101)}`, '1:105: invalid HCL: expected at most 100 nested brackets, found more'],
  ])('%j', (text, message) => {
    expect(openHcl(text, 'f.hcl').problems.map(formatProblem)).toEqual([`f.hcl:${message}`]);
  });

  it('is found anywhere in a text, with any character replaced or cut off, without an exception', () => {
    const text =
      'service {\n  name = "web" # x\n  tags = [ "a", 1.5, ]\n  m = <<E\nz\nE\n  proxy "l" { a = true }\n}\n';
    const lines = text.split('\n').length;
    for (let at = 0; at < text.length; at += 1)
      for (const wrong of ['', '"', '{', '}', '[', ']', '=', ',', '\\', '$', '<', '\0', '/'])
        for (const changed of [text.slice(0, at) + wrong + text.slice(at + 1), text.slice(0, at) + wrong]) {
          for (const { at: location } of openHcl(changed, 'f.hcl').problems) {
            expect(location?.line).toBeGreaterThan(0);
            expect(location?.line).toBeLessThanOrEqual(lines);
          }
        }
  });
});
