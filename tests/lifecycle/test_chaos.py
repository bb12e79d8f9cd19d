"""A short run of `make chaos`: every step and every trouble once or more, in the order of one seed."""

from __future__ import annotations

from tests.chaos.loop import STEPS, TROUBLES, Chaos
from tests.own_servers import OwnRedis
from tests.services import Plan
from tests.stage import Stage
from tests.worker_process import Workers

SEED = 1


def test_whatever_breaks_between_the_steps_nothing_is_lost_or_doubled(
    stage: Stage, on_own_redis: OwnRedis, workers: Workers, test_plan: Plan
) -> None:
    said: list[str] = []
    chaos = Chaos(stage, on_own_redis, workers, test_plan.admin, SEED, said.append)
    chaos.run(rounds=max(len(STEPS), len(TROUBLES)))
    for name in STEPS + TROUBLES:
        assert any(name.replace("_", " ") in line for line in said), name
    assert said[-1].startswith("all is there once")
