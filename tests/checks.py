"""What the scripts of tests/ share: counting checks, and the last line that ./test reads."""

import threading


class Checks:
    def __init__(self):
        self.passed = self.failed = 0
        self.lock = threading.Lock()

    def check(self, ok, sentence):
        """Counts, from any thread; says what failed. Gives `ok` back."""
        with self.lock:
            self.passed += bool(ok)
            self.failed += not ok
            if not ok:
                print(f"FAILED {sentence}", flush=True)
        return ok

    def end(self):
        """The exit code, after `N passed, N failed`."""
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0
