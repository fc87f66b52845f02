"""Requests that go straight to a replica, while replicas die and hang and control asks again."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.tests.properties.direct_site import DirectSite

NAMES = ("pick/0", "pick/1")
names = st.sampled_from(NAMES)


class DirectMachine(RuleBasedStateMachine):
    """Each step moves one message, or one process, or time."""

    @initialize(far=st.sampled_from([(), *((name,) for name in NAMES)]), shares=st.booleans())
    def a_robot_joins(self, far: tuple[str, ...], shares: bool) -> None:
        self.site = site = DirectSite(far, shares=shares)
        for name in NAMES:
            site.start(name)
        site.join()
        self.settle()
        terms = site.session.terms
        assert site.open and terms is not None
        near = terms.replica not in far
        assert site.direct.route.usable is near and terms.shm is (near and shares)

    @rule()
    @precondition(lambda self: self.site.closed)
    def control_opens_the_next_session(self) -> None:
        self.site.join()

    @rule()
    @precondition(lambda self: self.site.open)
    def control_asks(self) -> None:
        self.site.ask()

    @rule(name=names)
    def a_replica_reads_what_came_straight(self, name: str) -> None:
        replica = self.alive(name)
        if replica is not None and replica.door:
            replica.read_door(self.site.now_ns)

    @rule(name=names)
    def a_replica_reads_what_came_by_the_broker(self, name: str) -> None:
        replica = self.alive(name)
        if replica is not None and replica.back:
            replica.read_back(self.site.now_ns)

    @rule(name=names)
    def a_replica_calls_its_policy(self, name: str) -> None:
        replica = self.alive(name)
        if replica is not None:
            replica.work(self.site.now_ns)

    @rule(name=names)
    def an_answer_arrives_straight(self, name: str) -> None:
        self.site.deliver_direct(name)

    @rule()
    def a_message_of_the_broker_arrives(self) -> None:
        self.site.deliver()

    @rule()
    def the_broker_reads_a_message_of_the_robot(self) -> None:
        self.site.broker_reads()

    @rule(name=names)
    def the_broker_reads_a_message_of_a_replica(self, name: str) -> None:
        self.site.broker_reads_replica(name)

    @rule(ms=st.sampled_from([20, 60, 400]))
    def time_passes(self, ms: int) -> None:
        self.site.elapse(ms)

    @rule(name=names)
    def a_replica_is_killed(self, name: str) -> None:
        if len(self.site.replicas) == len(NAMES):
            self.site.kill(name)

    @rule(name=names)
    def a_replica_starts(self, name: str) -> None:
        if name not in self.site.replicas:
            self.site.start(name)

    @rule(name=names)
    def a_replica_hangs_or_wakes(self, name: str) -> None:
        replica = self.site.replicas.get(name)
        if replica is not None:
            replica.hung = not replica.hung

    @invariant()
    def no_request_has_two_answers(self) -> None:
        """Whichever ways they came."""
        if hasattr(self, "site"):
            assert max(self.site.got.values(), default=0) <= 1

    def teardown(self) -> None:
        """Once all processes live and messages arrive, what control waits for has its answer, and
        the broker waits for nothing."""
        if not hasattr(self, "site"):
            return
        site = self.site
        for name in NAMES:
            if name not in site.replicas:
                site.start(name)
        for replica in site.replicas.values():
            replica.hung = False
        for _ in range(60):
            self.settle()
            site.elapse(100)
        self.settle()
        if site.open:
            assert site.asked is None, f"request {site.seq} was not answered"
            assert site.owed is None, f"the broker waits for request {site.owed}"
            site.ask()
            self.settle()
            assert site.got[site.seq] == 1

    def alive(self, name: str) -> Any:
        replica = self.site.replicas.get(name)
        return None if replica is None or replica.hung else replica

    def settle(self) -> None:
        """All processes that do not hang do all that they can."""
        site = self.site
        moved = True
        while moved:
            moved = site.deliver() | site.broker_reads()
            for name in NAMES:
                moved |= site.deliver_direct(name) | site.broker_reads_replica(name)
                replica = self.alive(name)
                while replica is not None and (replica.door or replica.back):
                    moved = True
                    if replica.door:
                        replica.read_door(site.now_ns)
                    if replica.back:
                        replica.read_back(site.now_ns)
                if replica is not None:
                    replica.work(site.now_ns)


DirectMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRequestsThatGoStraight = DirectMachine.TestCase
