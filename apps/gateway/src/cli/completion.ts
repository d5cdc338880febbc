import type { Command } from 'commander';

/** Shells with completion. */
export const SHELLS: readonly ['bash', 'zsh', 'fish'] = ['bash', 'zsh', 'fish'];

/** One of {@link SHELLS}. */
export type Shell = (typeof SHELLS)[number];

/** Returns the completion script of `shell` for the commands and options of `program`. */
export function completionScript(program: Command, shell: Shell): string {
  const commands = program.commands.map((command) => ({
    name: command.name(),
    about: command.description(),
    flags: command.options.map(({ long, description }) => ({ name: long ?? '', about: description })),
  }));
  return { bash, zsh, fish }[shell](commands);
}

interface Completed {
  readonly name: string;
  readonly about: string;
  readonly flags: readonly { readonly name: string; readonly about: string }[];
}

function bash(commands: readonly Completed[]): string {
  const cases = commands.map(
    ({ name, flags }) => `    ${name}) words="${flags.map((flag) => flag.name).join(' ')}" ;;`,
  );
  return `# meshgate completion for bash: source <(meshgate completion bash)
_meshgate() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words=""
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words="${commands.map(({ name }) => name).join(' ')}"; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [ "$COMP_CWORD" -gt 1 ] && [[ "$current" != -* ]]; then COMPREPLY+=($(compgen -f -- "$current")); fi
}
complete -o filenames -F _meshgate meshgate
`;
}

function zsh(commands: readonly Completed[]): string {
  const names = commands.map(({ name, about }) => `    ${quoted(`${name}:${about}`)}`);
  const cases = commands.map(({ name, flags }) => {
    const all = flags.map((flag) => quoted(`${flag.name}[${flag.about.replace(/[[\]]/g, '')}]`)).join(' ');
    return `    ${name}) _arguments ${all} '*:file:_files' ;;`;
  });
  return `#compdef meshgate
# meshgate completion for zsh: source <(meshgate completion zsh)
_meshgate() {
  local -a commands=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  local name=$words[2]
  shift words; (( CURRENT-- ))
  case $name in
${cases.join('\n')}
  esac
}
compdef _meshgate meshgate
`;
}

function fish(commands: readonly Completed[]): string {
  const lines = commands.flatMap(({ name, about, flags }) => [
    `complete -c meshgate -n __fish_use_subcommand -f -a ${name} -d ${quoted(about)}`,
    ...flags.map(
      (flag) =>
        `complete -c meshgate -n '__fish_seen_subcommand_from ${name}' -l ${flag.name.replace(/^--/, '')} -d ${quoted(flag.about)}`,
    ),
  ]);
  return `# meshgate completion for fish: meshgate completion fish | source\n${lines.join('\n')}\n`;
}

/** Quotes text with single quotes, within which these shells expand nothing. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", '’')}'`;
}
