from actors import charge, clean, close, note, refund, store


def attempt(p: dict) -> dict:  # asya: flow
    p = clean(p)
    try:
        p["trying"] = True
        p = charge(p)
    except ValueError:
        p["why"] = "declined"
        p = note(p)
        p = refund(p)
    except (KeyError, TypeError):
        p = note(p)
        if p["strict"]:
            return p
    finally:
        p = close(p)
    p = store(p)
    return p
