import sys


def leftovers():
    """What the interpreter waits for at its end: threads that are no daemons, and processes of multiprocessing."""
    found = []
    threading = sys.modules.get("threading")
    if threading is not None:
        found += ["thread %s" % thread.name for thread in threading.enumerate()
                  if not thread.daemon and thread is not threading.main_thread()]
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        found += ["process %s, pid %s" % (child.name, child.pid) for child in multiprocessing.active_children()
                  if not child.daemon]
    return ", ".join(found)
