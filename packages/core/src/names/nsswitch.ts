/** A name service, in the order of nsswitch.conf(5). */
export interface NameService {
  /** `files`, `dns`, `resolve`, `mdns4_minimal` … */
  readonly name: string;
  /** Whether later services are skipped if this one reports that the name does not exist. */
  readonly isFinal: boolean;
}

/** Default of the C libraries without a file. */
const DEFAULT_SERVICES: readonly NameService[] = [
  { name: 'files', isFinal: false },
  { name: 'dns', isFinal: false },
];

/** Parses the `hosts` line of an nsswitch.conf(5). Pure. */
export function parseNsswitch(text: string): readonly NameService[] {
  const line = text.split('\n').find((one) => /^\s*hosts\s*:/.test(one));
  if (line === undefined) return DEFAULT_SERVICES;
  const words =
    line
      .replace(/#.*$/, '')
      .replace(/^[^:]*:/, '')
      .match(/\[[^\]]*\]|[^\s[\]]+/g) ?? [];
  const services = words.flatMap((word, index): NameService[] =>
    word.startsWith('[') ? [] : [{ name: word.toLowerCase(), isFinal: endsAtNotFound(words[index + 1]) }],
  );
  return services.length === 0 ? DEFAULT_SERVICES : services;
}

/**
 * Whether an action is `[NOTFOUND=return]`, also among others, or a negation that includes it, such as
 * `[!UNAVAIL=return]`.
 */
function endsAtNotFound(action: string | undefined): boolean {
  if (action?.startsWith('[') !== true) return false;
  return action
    .slice(1, -1)
    .toLowerCase()
    .split(/\s+/)
    .some((rule) => rule === 'notfound=return' || /^!(?:unavail|success|tryagain)=return$/.test(rule));
}
