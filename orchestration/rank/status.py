"""Where the ranks of a run say what they do, and the driver reads it: an actor, and the pulse of a rank.

Ranks never wait for it. News are in order of their coming; a pulse is kept as the last of each rank. Knows nothing of
what the news are about.
"""

import threading
import time
from dataclasses import dataclass

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

PHASES = ("starting", "data", "training", "checkpoint")  # in the order in which a rank comes to them
_EVERY = 3.0  # seconds between two beats

News = tuple[str, object]  # a kind, and what there is to say


@dataclass(frozen=True)
class Beat:
    """Where a rank is: its step and phase, and how many seconds ago it said so."""

    step: int
    phase: str
    age: float


class StatusActor:
    """Runs in a Ray actor on the driver's node."""

    def __init__(self) -> None:
        self._news: list[News] = []
        self._beats: dict[int, tuple[int, str, float]] = {}

    def tell(self, kind: str, content: object) -> None:
        """Put up a piece of news."""
        self._news.append((kind, content))

    def begin(self, ranks: int) -> None:
        """So many ranks begin: forget those of before whose places are not taken."""
        self._beats = {rank: beat for rank, beat in self._beats.items() if rank < ranks}

    def beat(self, rank: int, step: int, phase: str) -> None:
        """Where a rank is."""
        self._beats[rank] = (step, phase, time.monotonic())

    def take(self) -> tuple[list[News], dict[int, Beat]]:
        """The news since the last time, and where each rank is."""
        news, self._news = self._news, []
        now = time.monotonic()
        return news, {rank: Beat(step, phase, now - then) for rank, (step, phase, then) in self._beats.items()}


def start_status_actor() -> ActorHandle:
    """A board on this node."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(StatusActor).options(scheduling_strategy=here).remote()


class Pulse:
    """Beats for one rank from a thread of its own, until its process ends: a rank that is stopped beats no more."""

    def __init__(self, board: ActorHandle, rank: int) -> None:
        self._board, self._rank = board, rank
        self._where = (-1, PHASES[0])
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def at(self, step: int, phase: str) -> None:
        """Where the rank is from now on."""
        self._where = (step, phase)

    def _beat(self) -> None:
        while True:
            self._board.beat.remote(self._rank, *self._where)
            time.sleep(_EVERY)
