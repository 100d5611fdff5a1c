"""The state machine without Hypothesis: its rules run as far as their next command, which somebody else sends.

A rule is plain code that sends a command and looks at the answer. Here it runs in a greenlet of its own, so that
commands of several rules can be sent together, or by several clients at once, and each rule goes on when its
answer is there and the model has come to the same place.
"""

import pickle
from typing import Any, NamedTuple

from greenlet import getcurrent, greenlet

from loyalty.posting.commands import Answer, Command, Submission
from tests.laws.model import Again, No
from tests.laws.side_by_side import JSON, Commands
from tests.sim.operations import RULES, Operation


class Asked(NamedTuple):
    """What a rule wants sent, and what the model is to do; a repeat of an old request has no name."""

    rule: Any  # the greenlet that waits
    submission: Submission
    name: str = ""
    about: tuple[Any, ...] = ()
    ticket: int = 0


class _Answers:
    """First answers by the number their command had when it was asked for; `len` is the number of the next.

    A command that comes to several answers has the numbers behind its own for them.
    """

    APART = 10

    def __init__(self) -> None:
        self.asked = 0
        self.judged = 0  # where the next answer belongs
        self._kept: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self.asked

    def __getitem__(self, number: int) -> bytes:
        return self._kept[number if number >= 0 else self.judged + number]

    def get(self, number: int) -> bytes | None:
        return self._kept.get(number)

    def append(self, body: bytes) -> None:
        self._kept[self.judged] = body
        self.judged += 1

    def __iadd__(self, bodies: list[bytes]) -> "_Answers":
        for body in bodies:
            self.append(body)
        return self


class Machine(Commands):
    """Commands are handed out instead of sent."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: Any = _Answers()
        self.told: list[str] = []

    def start(self, rule: str, arguments: dict[str, Any]) -> Asked | None:
        """Run a rule up to its first command; None when it has none."""
        return greenlet(getattr(self, rule)).switch(**arguments) or None

    def may(self, operation: Operation) -> bool:
        return all(holds(self) for holds in RULES[operation.rule].preconditions)

    @staticmethod
    def go_on(asked: Asked, value: Any) -> Asked | None:
        """Give a rule what it waits for; its next command, if it has one."""
        return asked.rule.switch(value) or None

    def judged(self, asked: Asked, answer: Answer) -> Asked | None:
        """Run the model's part of a command, compare, and let its rule go on; its next command."""
        if not asked.name:
            return self.go_on(asked, answer)
        self.answers.judged = asked.ticket
        result, expected = self.predict(asked.name, *asked.about)
        return self.go_on(
            asked, self.judge(asked.submission, asked.name, asked.about, result, expected, answer)
        )

    def would(self, asked: Asked) -> No | Again | None:
        """What the model would say at this moment; nothing changes."""
        before = pickle.dumps(vars(self.model))
        _, expected = self.predict(asked.name, *asked.about)
        vars(self.model).update(pickle.loads(before))  # refusals leave traces: a wrong PIN is counted
        return expected

    # --- instead of what the machine does by itself ---------------------------------------------------------

    def step(self, command: Command, name: str, *about: Any, **more: Any) -> tuple[Any, JSON | None]:
        asked = Asked(getcurrent(), self.shop.submission(command, **more), name, about, self.answers.asked)
        self.answers.asked += _Answers.APART
        return self._out(asked)

    def send(self, submission: Submission) -> Answer:
        return self._out(Asked(getcurrent(), submission))

    @staticmethod
    def _out(asked: Asked) -> Any:
        outside = getcurrent().parent
        assert outside is not None
        return outside.switch(asked)

    def check(self) -> None:
        pass

    def trace(self, without: tuple[str, ...] = ()) -> Any:
        return None

    def tell(self, what: str) -> None:
        self.told.append(what)
