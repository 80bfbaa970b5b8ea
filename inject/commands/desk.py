"""Pages of the help that a ConfigMap does without, as it does without most of these commands (DESK in tools/bundle.py)."""

PAGES = {
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
    "completion": """usage: {0} completion bash|zsh

Prints a script that completes commands and flags. The package asya-runtime
installs it for both shells.

  source <(asya-runtime completion bash)
""",
    "configmap": """usage: {0} configmap [--name NAME] [--namespace NAMESPACE]
                             [--machine x86_64|aarch64|all]

Prints this file as a Kubernetes ConfigMap, for kubectl apply -f -.

  {0} configmap --machine x86_64 > runtime.yaml
""",
    "protocols": """A socket speaks three protocols and tells them apart by the first byte:

  raw     one JSON value (the payload) a connection, answered by
          {{"status":"ok","result":X}} or {{"error":CODE,"message":TEXT}}
  framed  a length in four bytes, then {{"route":R,"payload":P}}
  http    POST /invoke with such a message, GET /healthz

  echo '{{"text": "hello"}}' | nc -UN ./app.sock
  {0} call --socket ./app.sock --protocol http '{{"text": "hello"}}'
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
}
