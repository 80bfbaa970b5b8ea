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
    "run": """usage: {0} run HANDLER IN -o OUT.jsonl [options]

Puts each line of IN through the function: IN.jsonl has a JSON value a line,
the header of IN.csv names the keys of each row. Results go to OUT.jsonl in
the order of the input, errors to OUT.errors.jsonl, the function's log to
OUT.log, and OUT.journal knows how far it came. After Ctrl-C or a crash the
same command goes on; every line has one result or error. A line that ran when
it was interrupted runs again.

  -o, --output OUT.jsonl   where the results go
  --numbered               results as {{"line": N, "result": X}}
  --retry-errors           run the lines in OUT.errors.jsonl again
  --restart                start over, and overwrite what is there
  --format jsonl|csv       what IN is, if its name does not say so
  --workers N, --concurrency N, --handler-timeout S, --SETTING VALUE

  {0} run handler:process in.jsonl -o out.jsonl --workers 4

Exit codes: 0 every line has a result; 2 some lines have errors; 130 stopped by
Ctrl-C; 1 it could not go on; 64 to 73 the function could not be loaded.
""",
    "bench": """usage: {0} bench [HANDLER] [JSON | @FILE | -] [options]

Sends the same message again and again, to a runtime of its own that serves
HANDLER, or with --socket to a running one.

  --clients N       requests at once (8; with --rate 64)
  --rate R          so many requests are due a second, whether they are
                    answered or not; a latency runs from when one was due.
                    Without it each client waits for its reply.
  --seconds S, --requests N   how long (5 s), how many at most
  --protocol NAME   raw (default), framed or http, as for call
  --keep            http: all requests of a client over one connection
  --timeout S       give a request up after so many seconds (30)
  --json            one JSON document, for --compare
  --compare FILE    beside each figure that of an earlier --json
  --workers N, --SETTING VALUE

  {0} bench handler:process '{{"text": "hello"}}' --workers 2

Exit codes: 0 all replies were good; 2 some were not; 1 none was, or no server.
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
    "configmap": """usage: {0} configmap [--name NAME] [--namespace NAMESPACE]
                             [--machine x86_64|aarch64|all]

Prints this file as a Kubernetes ConfigMap, for kubectl apply -f -.

  {0} configmap --machine x86_64 > runtime.yaml
""",
    "completion": """usage: {0} completion bash|zsh

Prints a script that completes commands and flags. The package asya-runtime
installs it for both shells.

  source <(asya-runtime completion bash)
""",
    "exit-codes": """Exit codes:

    0  stopped after running requests were answered; a command that succeeded
    1  a command that failed
   64  a setting or an argument cannot be used
   65  syntax error in the handler's module
   66  the module, or one it imports, was not found
   67  the module does not have that name
   68  it cannot be called with one argument
   69  the class needs constructor arguments
   70  the runtime itself failed
   71  the import or the constructor raised or exited
   72  ASYA_STARTUP_TIMEOUT passed
   73  the socket cannot be created
   74  the socket was lost while serving
   75  another runtime serves this socket
   77  too few descriptors or processes, or too little memory, to start
   78  this Python cannot load the runtime

`help call` and `help run` have those of these commands.
""",
    "protocols": """A socket speaks three protocols and tells them apart by the first byte:

  raw     one JSON value (the payload) a connection, answered by
          {{"status":"ok","result":X}} or {{"error":CODE,"message":TEXT}}
  framed  a length in four bytes, then {{"route":R,"payload":P}}
  http    POST /invoke with such a message, GET /healthz

  echo '{{"text": "hello"}}' | nc -UN ./app.sock
  {0} call --socket ./app.sock --protocol http '{{"text": "hello"}}'
""",
}

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
