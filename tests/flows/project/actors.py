"""The actors of the flows beside this file: ordinary functions that know nothing of a route."""
import json
import os


def clean(p: dict) -> dict:  # asya: actor
    p["text"] = p["text"].strip()
    return p


async def classify(p: dict) -> dict:  # asya: actor
    p["long"] = len(p["text"]) > 10
    return p


def urgent(p: dict) -> dict:  # asya: actor
    p["by"] = "urgent"
    return p


class Counter:
    """A handler with state, as `module.Class.method`."""

    def __init__(self, name="counter"):
        self.name = name

    def routine(self, p: dict) -> dict:
        p["by"] = self.name
        return p


def store(p: dict) -> dict:  # asya: actor
    p["stored"] = True
    return p


def draft(p: dict) -> dict:  # asya: actor
    p["drafts"] = p.get("drafts", 0) + 1
    return p


def review(p: dict):  # asya: actor
    """A generator, as an actor that streams."""
    yield "FLY", {"reviewing": p["drafts"]}
    p["good"] = p["drafts"] >= p["until"]
    yield p


class Declined(ValueError):
    pass


def charge(p: dict) -> dict:  # asya: actor
    if p["card"] == "expired":
        raise Declined("the card has expired")
    if p["card"] == "none":
        raise KeyError("card")
    if p["card"] == "broken":
        raise OSError("no bank")
    p["charged"] = True
    return p


def refund(p: dict) -> dict:  # asya: actor
    p["refunded"] = True
    return p


def note(p: dict):  # asya: actor
    """What the sidecar tells of the failure is in the status."""
    error = yield "GET", ".status.error"
    p["failed"] = [error["type"], error["message"]]
    yield p


def close(p: dict) -> dict:  # asya: actor
    p["closed"] = True
    return p


def score(line) -> dict:  # asya: actor
    return {"line": line, "score": len(line)}


def shout(line) -> str:  # asya: actor
    return line.upper()


def weather(city: str) -> dict:  # asya: actor
    return {"city": city, "sun": True}


def collect(payload):
    """The aggregator of a fan-out. As Asya's own does, it writes a file for each slice, and whoever comes last puts them
    together. What comes after it is in the first slice's route."""
    part = yield "GET", ".headers.x-asya-fan-in"
    rest = yield "GET", ".route.next"
    folder = os.path.join(os.environ["FANIN_FOLDER"], part["origin_id"] + part["aggregation_key"].replace("/", "-"))
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "%03d" % part["slice_index"]), "w", encoding="utf-8") as file:
        json.dump([payload, rest], file)
    names = sorted(os.listdir(folder))
    if len(names) < part["slice_count"]:
        return
    slices = []
    for name in names:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            slices.append(json.load(file))
        os.remove(os.path.join(folder, name))
    whole, rest = slices[0]
    *way, last = part["aggregation_key"][1:].split("/")
    node = whole
    for key in way:
        node = node.setdefault(key, {})
    node[last] = [result for result, _ in slices[1:]]
    yield "DEL", ".headers.x-asya-fan-in"
    yield "SET", ".route.next", rest
    yield whole
