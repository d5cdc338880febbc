/** One of the services that know names, in the order in which the system asks them. */
export interface NameService {
  /** `files`, `dns`, `resolve`, `mdns4_minimal` … */
  readonly name: string;
  /** Later services are not queried when it says that the name does not exist. */
  readonly isFinal: boolean;
}

/** What the C libraries do without a file. */
const DEFAULT_SERVICES: readonly NameService[] = [
  { name: 'files', isFinal: false },
  { name: 'dns', isFinal: false },
];

/** The `hosts` line of an nsswitch.conf(5). Pure. */
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

/** `[NOTFOUND=return]`, also among others, and `[!UNAVAIL=return]`: whatever it says counts, unless it is not there. */
function endsAtNotFound(action: string | undefined): boolean {
  if (action?.startsWith('[') !== true) return false;
  return action
    .slice(1, -1)
    .toLowerCase()
    .split(/\s+/)
    .some((rule) => rule === 'notfound=return' || /^!(?:unavail|success|tryagain)=return$/.test(rule));
}
