"""What every test stands on: start a runtime, talk to it, look at its processes, judge its log."""
