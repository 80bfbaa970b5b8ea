"""Completion for bash and zsh: a script each, from the same tables as the help."""
from . import VERBS, Refusal, help, settings

OWN = {"serve": ["--reload"], "call": ["--socket", "--protocol", "--timeout"],
       "run": ["--output", "--numbered", "--retry-errors", "--restart", "--format"],
       "probe": ["--readiness", "--liveness", "--startup", "--timeout"],
       "configmap": ["--name", "--namespace", "--machine"], "check": ["--brief"], "status": ["--json"], "top": ["--interval"],
       "bench": ["--socket", "--protocol", "--keep", "--clients", "--rate", "--seconds", "--requests", "--timeout", "--json",
                 "--compare"],
       "log-level": ["DEBUG", "INFO", "WARNING", "ERROR"]}
ASKS = ("status", "top") + VERBS  # a running runtime
TAKES_SETTINGS = ("serve", "check", "call", "run", "bench")

SCRIPT = """_asya_runtime() {
    local word=${COMP_WORDS[COMP_CWORD]} words
    case "${COMP_WORDS[1]}" in
%s    *) words='%s' ;;
    esac
    [ "$COMP_CWORD" -gt 1 ] || words='%s'
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    [[ ${#COMPREPLY[@]} -gt 0 || $word == -* ]] || COMPREPLY=($(compgen -f -- "${word#@}"))
}
complete -o filenames -F _asya_runtime asya-runtime asya_runtime.py
"""


def run(arguments):
    if arguments not in (["bash"], ["zsh"]):
        raise Refusal("which shell? `completion bash` or `completion zsh`")
    flags = " ".join(setting.flag for setting in settings.known())
    names = [row[1] for row in help.COMMANDS]
    cases = ""
    for name in names:
        words = OWN.get(name, []) + ([flags] if name in TAKES_SETTINGS else [])
        words += ["--control", "--socket", "--socket-path"] if name in ASKS else []
        words += sorted(help.TOPICS) + ["settings"] if name == "help" else ["bash", "zsh"] if name == "completion" else []
        cases += "    %s) words='%s' ;;\n" % (name, " ".join(words + ["--help"]))
    script = SCRIPT % (cases, flags, " ".join(names + ["--help", "--version", flags]))
    if arguments == ["zsh"]:
        script = "#compdef asya-runtime asya_runtime.py\nautoload -U +X bashcompinit && bashcompinit\n" + script
    print(script, end="")
