"""The command asya-runtime."""
import sys

from . import main


def command() -> int:
    return main(sys.argv)


if __name__ == "__main__":
    sys.exit(command())
