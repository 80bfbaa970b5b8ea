"""Flows as Asya's compiler makes them (the package asya-lab), each router and actor a runtime, driven as by the sidecar."""
import subprocess

import pytest

from harness.runtime import PYTHON

pytest.importorskip("asya_lab")
if subprocess.run([PYTHON, "-c", "dict[str, str]"], stderr=subprocess.DEVNULL, check=False).returncode:
    pytest.skip("compiled routers need CPython 3.9", allow_module_level=True)

from . import compiler, sidecar  # noqa: E402


# Aggregators are not compiled: whoever runs the cluster deploys them.
AGGREGATORS = {"spread": ["fanin-spread-scores", "fanin-spread-found-both"], "rounds": ["fanin-rounds-answers"]}


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    """flow("sequence"): the running actors of that flow, until another one is asked for."""
    project = compiler.Project(tmp_path_factory.mktemp("flows"))
    env = {"FANIN_FOLDER": str(tmp_path_factory.mktemp("fan-in"))}
    running = {}

    def stop():
        for mesh in list(running.values()):
            running.clear()
            mesh.close()

    def run(name):
        if name not in running:
            stop()
            compiled = project.compiled(name)
            compiled.actors.update({actor: compiler.Actor(actor, "actors.collect") for actor in AGGREGATORS.get(name, ())})
            running[name] = sidecar.Mesh(compiled, str(project.folder), env)
        return running[name]

    yield run
    stop()


def one(ended):
    """(payload, names that the message has passed) of the only message that came out."""
    [message] = ended
    return message["payload"], message["route"]["prev"]


def test_a_sequence_changes_the_payload_between_its_actors(flow):
    ended = flow("sequence").run("start-sequence", {"text": " a text of some length "}, headers={"trace": "t-1"})
    payload, passed = one(ended)
    assert ended[0]["headers"] == {"trace": "t-1"}
    assert payload == {"text": "a text of some length", "long": True, "stored": True, "seen": ["cleaned", "stored"]}
    assert [name for name in passed if name.startswith("actor-")] == ["actor-clean", "actor-classify", "actor-store"]


BRANCHES = {"if": (9, {"by": "urgent", "stored": True}), "elif": (4, {"by": "counter", "stored": True}),
            "else": (1, {"ignored": True})}


@pytest.mark.parametrize("level, added", BRANCHES.values(), ids=BRANCHES)
def test_a_branch(flow, level, added):
    payload, passed = one(flow("branch").run("start-branch", {"text": "x ", "level": level}))
    assert payload == {"text": "x", "level": level, **added}
    assert ("actor-store" in passed) == ("stored" in added)


LOOPS = {"its break": (3, {"drafts": 3, "rounds": 3, "good": True, "late": True}),
         "its condition": (99, {"drafts": 5, "rounds": 5, "good": False, "late": True}),
         "its first round": (1, {"drafts": 1, "rounds": 1, "good": True})}


@pytest.mark.parametrize("until, added", LOOPS.values(), ids=LOOPS)
def test_a_loop_ends_by(flow, until, added):
    payload, passed = one(flow("loop").run("start-loop", {"text": "x", "until": until}))
    assert flow("loop").upstream == [{"payload": {"reviewing": count + 1}} for count in range(added["drafts"])]
    assert payload == {"text": "x", "until": until, "stored": True, **added}
    assert passed.count("actor-draft") == added["drafts"]


ATTEMPTS = {
    "no error": ({"card": "good"}, {"trying": True, "charged": True, "closed": True, "stored": True}),
    "an except by the class's ancestor":
        ({"card": "expired"}, {"why": "declined", "failed": ["actors.Declined", "the card has expired"], "refunded": True,
                               "closed": True, "stored": True}),
    "an except of two classes": ({"card": "none", "strict": False},
                                 {"failed": ["KeyError", "KeyError: 'card'"], "closed": True, "stored": True}),
    "an except that returns": ({"card": "none", "strict": True}, {"failed": ["KeyError", "KeyError: 'card'"]}),
}


@pytest.mark.parametrize("sent, added", ATTEMPTS.values(), ids=ATTEMPTS)
def test_try(flow, sent, added):
    payload, _ = one(flow("attempt").run("start-attempt", {"text": "x", **sent}))
    assert {**payload, "trying": True} == {"text": "x", "trying": True, **sent, **added}


def test_an_error_that_no_except_names_ends_the_flow(flow):
    [message] = flow("attempt").run("start-attempt", {"text": "x", "card": "broken"})
    assert message["status"]["phase"] == "failed" and message["status"]["error"]["type"] == "OSError"
    assert message["payload"] == {"text": "x", "card": "broken", "trying": True}


@pytest.mark.parametrize("last_first", [False, True], ids=["in turn", "the newest first"])
def test_fan_out_and_fan_in(flow, last_first):
    sent = {"text": "Text ", "lines": ["one", "three", ""], "found": {}}
    [message] = flow("spread").run("start-spread", sent, last_first=last_first)
    assert message["payload"] == {
        "text": "Text", "lines": ["one", "three", ""], "count": 3, "stored": True,
        "scores": [{"line": "one", "score": 3}, {"line": "three", "score": 5}, {"line": "", "score": 0}],
        "found": {"both": [{"line": "Text", "score": 4}, "TEXT"]}}
    assert "x-asya-fan-in" not in message["headers"] and message["route"]["prev"][-1] == "actor-store"


def test_a_fan_out_within_a_loop_without_a_condition(flow):
    payload, passed = one(flow("rounds").run("start-rounds", {"text": "x", "until": 3, "lines": ["a", "bb"]}))
    assert payload == {"text": "x", "until": 3, "drafts": 3, "stored": True, "heard": [2, 3, 4],
                       "lines": ["a", "bb", "again", "again"],
                       "answers": [{"line": line, "score": len(line)} for line in ("a", "bb", "again", "again")]}
    assert passed.count("actor-draft") == 3


def test_an_adapter_around_a_function_of_other_parameters(flow):
    payload, _ = one(flow("adapted").run("start-adapted", {"text": " Oslo"}))
    assert payload == {"text": "Oslo", "report": {"city": "Oslo", "sun": True}, "stored": True}
