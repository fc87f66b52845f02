"""Which replica takes a robot, and why none does; what a name may claim."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.broker.effects import ToReplica, ToRobot
from holdfast.actors.broker.replica_choice import RETRY_AFTER_S
from holdfast.actors.broker.routing import Routing
from holdfast.actors.runtime.configs import BrokerConfig
from holdfast.tests.actors.broker.desk import Desk, Sent, asking, granting, offering, rejection
from holdfast.transport.bodies import Close, Reject
from holdfast.transport.header import Kind


def test_a_robot_goes_to_the_least_loaded_replica_of_its_service(desk: Desk) -> None:
    """Loads are shares of the capacity."""
    desk.register("flow/0:1", capacity=4)
    desk.register("flow/1:1", capacity=2)
    desk.register("act/0:1", capacity=9)
    placed = [desk.opened(f"r{n}:1").decode() for n in range(6)]
    assert placed.count("flow/0:1") == 4
    assert placed.count("flow/1:1") == 2


@given(times=st.lists(st.floats(0.002, 0.5), min_size=2, max_size=4), robots=st.integers(1, 40))
def test_unequal_devices_get_shares_that_fit_their_measured_times(
    times: list[float], robots: int
) -> None:
    """None is busier than another would be with one robot more; of enough robots all have some."""
    desk = Desk()
    for k, seconds in enumerate(times):
        desk.register(f"flow/{k}:1", capacity=1000, batch_s=(seconds, 1.5 * seconds))
    placed = [desk.opened(f"r{n}:1").decode() for n in range(robots)]
    held = [placed.count(f"flow/{k}:1") for k in range(len(times))]
    after = [(count + 1) * seconds for count, seconds in zip(held, times, strict=True)]
    for count, seconds in zip(held, times, strict=True):
        assert count * seconds <= min(after) + 1e-9
    if robots >= sum(max(times) / seconds for seconds in times) + len(times):
        assert all(held)


def test_the_sessions_of_a_service_are_counted_over_all_its_replicas(desk: Desk) -> None:
    """Also while one of its hosts is dead: then its replicas may hold all of them, and no more."""
    for k in range(3):
        desk.register(f"flow/{k}:1", capacity=3, service_limit=3, host=f"gpu{k % 2}")
    desk.register("act/0:1")
    for n in range(3):
        desk.opened(f"r{n}:1")
    answer = rejection(desk.robot("r3:1", asking("r3"), epoch=1))
    assert (answer.reason, answer.load, answer.alternatives) == ("capacity", 1.0, ("act",))
    assert "3 sessions, room for 3 on 3 replicas" in answer.message
    assert "raise its `max_sessions`, which counts over all replicas" in answer.message
    (row,) = [row for row in desk.routing.status(desk.now_ns)["services"] if row["name"] == "flow"]
    assert (row["sessions"], row["capacity"]) == (3, 3)
    desk.wait(3, beats=("flow/1:1",), robots=("r0:1", "r1:1", "r2:1"))
    for n in range(3):
        if desk.sessions()[f"r{n}"] == "flow/1":
            desk.replica("flow/1:1", granting("flow/1"), f"r{n}", epoch=1)
    assert set(desk.sessions().values()) == {"flow/1"}
    assert rejection(desk.robot("r3:1", asking("r3"), epoch=2)).reason == "capacity"
    desk.robot("r0:1", Close(), epoch=1)
    assert desk.opened("r3:1", epoch=3) == b"flow/1:1"


def test_a_full_service_says_its_load_and_where_there_is_room(desk: Desk) -> None:
    """The alternatives are services with room that move the same motors."""
    desk.register("flow/0:1", capacity=1)
    desk.register("act/0:1")
    desk.register("other/0:1", action_names=("y",))
    desk.opened("r1:1")
    answer = rejection(desk.robot("r2:1", asking("r2"), epoch=1))
    assert answer.reason == "capacity"
    assert answer.load == 1.0
    assert answer.alternatives == ("act",)
    assert not answer.final
    assert answer.retry_after_s == RETRY_AFTER_S
    assert "add a replica" in answer.message


def test_a_robot_of_an_unknown_service_learns_which_are_served(desk: Desk) -> None:
    """The REJECT is not final: the service may still be loading."""
    desk.register("flow/0:1")
    answer = rejection(desk.robot("r1:1", asking("r1", "flwo"), epoch=1))
    assert answer.reason == "no-replica"
    assert "'flwo'" in answer.message
    assert "flow" in answer.message
    assert not answer.final, "a service that is still loading appears later"


def test_a_robot_of_a_service_of_scripts_learns_that_one_has_to_serve(desk: Desk) -> None:
    """Only while none does; the REJECT is not final."""
    desk.routing = Routing(BrokerConfig(front="", back="", external=("mine",)), "b:1", desk.now_ns)
    answer = rejection(desk.robot("r1:1", asking("r1", "mine"), epoch=1))
    assert (answer.reason, answer.final) == ("no-replica", False)
    assert "a script has to serve it: holdfast.serve(policy, service='mine')" in answer.message
    assert "script" not in rejection(desk.robot("r2:1", asking("r2", "other"), epoch=1)).message
    desk.register("mine/x:1", capacity=1)
    desk.opened("r1:1", service="mine", epoch=2)
    assert rejection(desk.robot("r2:1", asking("r2", "mine"), epoch=2)).reason == "capacity"


def test_a_robot_returns_to_its_replica_while_that_lives(desk: Desk) -> None:
    """Its last replica is preferred to a less loaded one."""
    desk.register("flow/0:1", capacity=4)
    desk.register("flow/1:1", capacity=4)
    homes = {f"r{n}": desk.opened(f"r{n}:1") for n in range(4)}
    desk.robot("r0:1", Close(), epoch=1)
    desk.robot("r1:1", Close(), epoch=1)
    assert desk.opened("r1:1", epoch=2) == homes["r1"]
    assert desk.opened("r0:1", epoch=2) == homes["r0"]


def test_a_replicas_own_refusal_reaches_the_robot_and_frees_the_place(
    desk: Desk, sent: Sent
) -> None:
    """The broker passes the REJECT on as it came."""
    desk.register("flow/0:1", capacity=1)
    desk.register("flow/1:1", capacity=1)
    desk.robot("r1:1", asking("r1"), epoch=1)
    at = desk.sessions()["r1"]
    no = Reject(reason="action-names", message="other motors", final=True)
    effects = desk.replica(f"{at}:1", no, "r1", epoch=1)
    (answer,) = sent(effects, ToRobot, Kind.REJECT)
    assert answer.payload == ("REJECT", {"epoch": 1}), "the replica's words, as they came"
    assert desk.sessions() == {}


def test_a_replica_that_is_fuller_than_it_said_sends_the_robot_on_to_another(
    desk: Desk, sent: Sent
) -> None:
    """The robot is rejected once all have refused."""
    desk.register("flow/0:1")
    desk.register("flow/1:1")
    desk.robot("r1:1", asking("r1"), epoch=1)
    effects = desk.replica("flow/0:1", Reject(reason="capacity", message="full"), "r1", epoch=1)
    (again,) = sent(effects, ToReplica, Kind.OPEN)
    assert again.identity == b"flow/1:1"
    assert not sent(effects, ToRobot, Kind.REJECT)
    effects = desk.replica("flow/1:1", Reject(reason="capacity", message="full"), "r1", epoch=1)
    assert sent(effects, ToRobot, Kind.REJECT), "both said no"


def test_a_replica_that_never_answers_an_open_does_not_keep_the_robot_waiting(
    desk: Desk, sent: Sent
) -> None:
    """The session ends after 5 s with a REJECT."""
    desk.register("flow/0:1")
    desk.robot("r1:1", asking("r1"), epoch=1)
    effects = desk.wait(6, beats=("flow/0:1",), robots=("r1:1",))
    assert "did not answer" in rejection(effects).message
    assert sent(effects, ToReplica, Kind.CLOSE)
    assert desk.sessions() == {}


def test_a_robot_may_open_only_under_its_own_name(desk: Desk) -> None:
    """The REJECT is final, and the violation is counted."""
    desk.register("flow/0:1")
    answer = rejection(desk.robot("r1:1", asking("r2"), epoch=1))
    assert answer.final
    assert desk.count("wrong-name") == 1


def test_a_replica_may_register_only_under_its_own_name(desk: Desk, sent: Sent) -> None:
    """It is not registered, and the violation is counted."""
    (welcome,) = sent(desk.register("flow/0:1"), ToReplica, Kind.WELCOME)
    assert welcome.identity == b"flow/0:1"
    desk.replica("act/0:1", offering("flow/1", 1), token=1)
    assert desk.routing.status(desk.now_ns)["replica_count"] == 1
    assert desk.count("wrong-name") == 1
