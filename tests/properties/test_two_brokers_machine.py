"""Two brokers whose links to robots and replicas break in any way."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from holdfast.tests.properties.two_brokers import BROKERS, TwoBrokers

brokers = st.sampled_from(BROKERS)


class TwoBrokersMachine(RuleBasedStateMachine):
    """No robot is left without answers that some broker can bring; nothing is served twice."""

    @initialize(robots=st.integers(1, 3), capacities=st.lists(st.integers(1, 3), max_size=3))
    def begin(self, robots: int, capacities: list[int]) -> None:
        self.roomy = [robots, *capacities]  # the first has room for all, so that none is refused
        self.site = TwoBrokers(robots, self.roomy)
        self.site.run(1500)

    @rule(broker=brokers)
    def kill_or_revive(self, broker: int) -> None:
        if self.site.alive[broker]:
            self.site.kill(broker)
        else:
            self.site.revive(broker)

    @rule(broker=brokers, data=st.data())
    def tear_or_mend(self, broker: int, data: st.DataObject) -> None:
        peers = sorted([*self.site.robots, *self.site.replicas])
        link = data.draw(st.sampled_from(peers)), broker
        if link in self.site.cut:
            self.site.mend(link)
        else:
            self.site.tear(link)

    @rule(ms=st.integers(20, 2500))
    def wait(self, ms: int) -> None:
        self.site.run(ms)

    @rule()
    def settle(self) -> None:
        """Without faults, and with time for what was left behind to end."""
        self.site.heal()
        self.site.run(12_000)
        self.site.check_settled()
        since_ns = self.site.now_ns
        self.site.run(1000)
        assert all(robot.answered_ns > since_ns for robot in self.site.robots.values())


TwoBrokersMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=14)
TestTwoBrokers = TwoBrokersMachine.TestCase


@pytest.mark.parametrize("fault", ["killed", "r0", "s/0"])
def test_one_fault_costs_a_robot_less_than_half_a_second(fault: str) -> None:
    """Its broker is killed, cut from the robot, or from the only replica: the session goes on."""
    site = TwoBrokers(1, [1])
    site.run(3000)
    robot = site.robots["r0"]
    at, epoch = robot.route.current, robot.epoch
    site.until(lambda: robot.waiting is None)  # the fault meets the next request: the worst case
    if fault == "killed":
        site.kill(at)
    else:
        site.tear((fault, at))
    site.until(lambda: robot.waiting is not None)
    asked_ns = site.now_ns
    site.run(480)
    assert robot.answered_ns > asked_ns
    assert (robot.epoch, robot.route.current) == (epoch, 1 - at)
