"""A feed in the background, for tests in which something happens in its middle."""
import threading

from waiting import until


class Feeder(threading.Thread):
    """Feeds a few messages at a time; join() waits for the rest of it."""

    def __init__(self, pipeline, messages, at_once=5):
        super().__init__(daemon=True)
        self.pipeline, self.messages, self.at_once, self.fed = pipeline, messages, at_once, 0
        self.start()

    def run(self):
        for start in range(0, len(self.messages), self.at_once):
            self.pipeline.feed(self.messages[start:start + self.at_once])
            self.fed = start + self.at_once

    def reaches(self, share):
        until(lambda: self.fed >= share * len(self.messages), f"{share:.0%} of the feed is written")
