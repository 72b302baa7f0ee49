"""Waiting for a condition: poll it until a deadline that only a hang reaches. Nothing here or in the tests measures speed."""
import os
import time

PATIENCE = float(os.environ.get("TEST_PATIENCE", "180"))   # seconds until a wait counts as a hang


class Hang(AssertionError):
    pass


def until(condition, what, alive=(), patience=PATIENCE, pause=None):
    """Polls condition() until it is true and returns its value. Fails when a process of `alive` ends meanwhile, or on a hang.

    What has taken long is looked at less often, unless pause says how often: a look costs the programs under test their processor.
    A condition may say why it is not met yet by having an attribute `why` (a function that returns text)."""
    began = time.monotonic()
    deadline = began + patience
    while True:
        value = condition()
        if value:
            return value
        for process in alive:
            if not process.running():
                raise AssertionError(f"{process.label} ended (code {process.code()}) while waiting until {what}\n{process.tail()}")
        now = time.monotonic()
        if now > deadline:
            why = getattr(condition, "why", None)
            tails = "\n".join(process.tail() for process in alive)
            raise Hang(f"waited {patience:.0f} s until {what}{': ' + str(why()) if why else ''}\n{tails}")
        time.sleep(pause or min(max((now - began) / 20, 0.02), 0.2))
