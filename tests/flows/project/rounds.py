import asyncio

from actors import draft, score, store


async def rounds(p: dict) -> dict:  # asya: flow
    p["heard"] = []
    while True:
        p = draft(p)
        p["answers"] = await asyncio.gather(*[score(line) for line in p["lines"]])
        p["heard"] += [len(p["answers"])]
        if p["drafts"] >= p["until"]:
            break
        p["lines"] += ["again"]
    p = store(p)
    return p
