"""Waiting for a condition: poll it until a deadline that only a hang reaches. Nothing here or in the tests measures speed."""
import os
import time

PATIENCE = float(os.environ.get("TEST_PATIENCE", "180"))   # seconds until a wait counts as a hang


class Hang(AssertionError):
    pass


def until(condition, what, alive=(), patience=PATIENCE, pause=0.05):
    """Polls condition() until it is true and returns its value. Fails when a process of `alive` ends meanwhile, or on a hang.

    A condition may say why it is not met yet by having an attribute `why` (a function that returns text)."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        for process in alive:
            if not process.running():
                raise AssertionError(f"{process.label} ended (code {process.code()}) while waiting until {what}\n{process.tail()}")
        if time.monotonic() > deadline:
            why = getattr(condition, "why", None)
            tails = "\n".join(process.tail() for process in alive)
            raise Hang(f"waited {patience:.0f} s until {what}{': ' + str(why()) if why else ''}\n{tails}")
        time.sleep(pause)
