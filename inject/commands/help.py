"""The help: an overview, and a page for each command, each setting and a few other words."""
import textwrap

from . import Refusal, settings

WIDTH = 79
PROGRAM = "asya_runtime.py"

# Of each command: its group, its name, what it does, and an example.
COMMANDS = [
    ("serve", "serve", "serve the function until SIGTERM or Ctrl-C (the default)",
     "serve handler:process --workers 2"),
    ("serve", "check", "load the function as a start would; settings, versions, limits",
     "check handler:process"),
    ("try and run", "call", "send one message, without a server or to a running one",
     "call handler:process '{\"text\": \"hello\"}'"),
    ("try and run", "run", "call the function for each line of a file",
     "run handler:process in.jsonl -o out.jsonl"),
    ("try and run", "bench", "measure requests per second and latencies",
     "bench handler:process '{\"text\": \"hello\"}'"),
    ("operate", "status", "the state of a running runtime: requests, memory, errors",
     "status --socket ./app.sock"),
    ("operate", "top", "the same, refreshed every second",
     "top --socket ./app.sock"),
    ("operate", "stacks", "the stacks of every worker; stops nothing",
     "stacks"),
    ("operate", "log-level", "set the log's level without a restart",
     "log-level DEBUG"),
    ("operate", "drain", "make readiness probes fail, but serve on; undo with undrain",
     "drain"),
    ("operate", "undrain", "let probes succeed again",
     "undrain"),
    ("operate", "recycle", "replace every worker, one after the other",
     "recycle"),
    ("operate", "probe", "check a running runtime: exit code 0 or 1, and one line",
     "probe --readiness"),
    ("operate", "configmap", "print this file as a Kubernetes ConfigMap",
     "configmap | kubectl apply --server-side -f -"),
    ("learn", "help", "explain a command, a setting or a topic",
     "help run"),
    ("learn", "completion", "print a script that completes commands and flags in a shell",
     "completion bash"),
]

TOPICS = {
    "serve": """usage: {0} [serve [HANDLER]] [--reload]
                             [--SETTING VALUE ...]

Serves the function over a Unix socket until SIGTERM or Ctrl-C. HANDLER names
the function as ASYA_PROCESS_MODULE does. Every setting is also a flag:
--workers 2 is ASYA_WORKERS=2. A flag wins over the variable.

--reload, while you develop: the workers are replaced, without a gap, when a
source of the function has changed: its module or what that imports, outside
of site-packages. Not for production.

  {0} serve handler:process --socket-path ./app.sock --workers 2
  {0} serve handler:process --reload
""",
    "check": """usage: {0} check [HANDLER] [--brief] [--SETTING VALUE ...]

Loads the function as a start would, without a socket, and prints what it
found, the settings in force, versions, limits, and the socket's folder: what
to send along with a question. --brief prints the first line alone. The exit
code is that with which a start would end (help exit-codes).

  {0} check handler:process
""",
    "call": """usage: {0} call [HANDLER] [JSON | @FILE | -] [options]

Sends one message. Without --socket the function is loaded here, in the
foreground: input and output are the terminal's, so breakpoint() works, and
there is no time limit. Results, typed payloads and errors are those that a
client of a running runtime gets.

  JSON, @FILE, -   the payload, a file that has it, or standard input; a file
                   of --record says itself for which function it is, and by
                   which protocol it came
  --socket PATH    send it to the runtime that serves this socket
  --protocol NAME  raw (default), framed or http; the last two wrap the payload
                   in a message unless it has a payload and a route; http
                   shows what a generator yields as it comes
  --timeout S      with --socket: give up after so many seconds
  --SETTING VALUE  as for serve

The result goes to standard output, an error to standard error. Exit codes:
0 a result; 10 validation_error; 11 processing_error; 12 out_of_memory;
13 the message was refused; 14 connection_error; 15 server_error;
1 there was no reply; 64 to 73 the function could not be loaded; 130 Ctrl-C.

  {0} call handler:process '{{"text": "hello"}}'
  {0} call --socket ./app.sock @message.json
""",
    "status": """usage: {0} status [--json] [--socket PATH | --control PATH]

Asks the control socket of a running runtime, and prints: version, state and
why it is not ready, settings, the requests that run and since when, workers
with memory and how they have ended, the last errors with their stacks. --json
prints all that GET /status has.
{1}
  {0} status --socket ./app.sock
""",
    "top": """usage: {0} top [--interval SECONDS]
                             [--socket PATH | --control PATH]

Shows requests per second, workers, running requests and the last errors, and
how they change. q or Ctrl-C ends it. Without a terminal it prints this once.
{1}
  kubectl exec -it POD -- python3 /opt/asya/{0} top
""",
    "stacks": """usage: {0} stacks [--socket PATH | --control PATH]

Prints where each worker is: the Python stacks of all threads, and of every
task of asyncio. Nothing is ended by it.
{1}
  {0} stacks
""",
    "log-level": """usage: {0} log-level DEBUG|INFO|WARNING|ERROR
                             [--socket PATH | --control PATH]

Sets the level of the log, of the supervisor and of all workers, until the
runtime ends.
{1}
  {0} log-level DEBUG
""",
    "drain": """usage: {0} drain [--socket PATH | --control PATH]

Takes the runtime out of service by hand: readiness probes fail, and messages
that come are served all the same. `undrain` takes it back.
{1}
  {0} drain
""",
    "undrain": """usage: {0} undrain [--socket PATH | --control PATH]

Takes `drain` back.
{1}
  {0} undrain
""",
    "recycle": """usage: {0} recycle [--socket PATH | --control PATH]

Replaces every worker, one after the other: the next one loads first. No
message is lost.
{1}
  {0} recycle
""",
    "probe": """usage: {0} probe [--readiness | --liveness | --startup]
                             [--timeout SECONDS]

Asks the runtime at ASYA_SOCKET_PATH how it is, and prints one line. Exit code
0: it is ready (or alive). 1: it is not.

  {0} probe --liveness
""",
}

try:
    from . import desk

    TOPICS.update(desk.PAGES)
except ImportError:  # it is not in a ConfigMap, and neither are most of these commands
    pass

# What the commands have in common that ask a running runtime.
ASKED = """
  --socket PATH    the socket that it serves: the control socket is PATH.ctl
  --control PATH   the control socket itself
                   Without both it is that of the settings, which are variables
                   or flags: ASYA_CONTROL_PATH, ASYA_SOCKET_PATH or _DIR.

Exit code 0: it has answered. 1: it has not, or it cannot do that now.
64: wrong arguments.
"""


def wrapped(text, indent):
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False,
                         break_long_words=False)


def explain(setting):
    default = " [%s]" % setting.default if setting.default else ""
    return "  %s, %s\n%s\n" % (setting.name, setting.flag, wrapped(setting.meaning + default, "      "))


def overview():
    lines = ["usage: %s [COMMAND] [--SETTING VALUE ...]" % PROGRAM, "",
             "Serves a Python function to an Asya sidecar over a Unix socket.", ""]
    title = None
    for group, name, text, example in COMMANDS:
        if group != title:
            lines += ["%s:" % group]
            title = group
        lines += ["  %-12s%s" % (name, text), "              %s %s" % (PROGRAM, example)]
    lines += ["", "topics: help %s" % ", ".join(sorted(set(TOPICS) - {row[1] for row in COMMANDS}) + ["settings", "SETTING"])]
    return "\n".join(lines + ["--version prints the version, --help this.", "", "settings are variables or flags:", "", ""])


def settings_text():
    return "\n".join("%s:\n\n%s" % (title, "".join(map(explain, group))) for title, group in settings.groups())


def run(arguments):
    topic = arguments[0].lower() if arguments else ""
    named = {name: setting for setting in settings.known() for name in
             (setting.name.lower(), setting.flag, setting.flag[2:], setting.name[5:].lower())}
    if not topic:
        text = overview() + settings_text()
    elif topic == "--table":
        text = "".join("\t".join((title, setting.name, setting.default, setting.meaning)) + "\n"
                       for title, group in settings.groups() for setting in group)
    elif topic == "settings":
        text = settings_text()
    elif topic in TOPICS:
        text = TOPICS[topic].format(PROGRAM, ASKED)
    elif topic == "help":
        text = "usage: %s help [COMMAND | SETTING | %s]\n" % (PROGRAM, " | ".join(sorted(TOPICS)))
        text = wrapped(text, "") + "\n\n  %s help workers\n" % PROGRAM
    elif topic in named:
        text = explain(named[topic])
    else:
        raise Refusal("there is no help for '%s'%s" % (topic, settings.nearest(topic, list(TOPICS) + list(named))
                                                       or "; `%s --help` lists all" % PROGRAM))
    print(text, end="")
