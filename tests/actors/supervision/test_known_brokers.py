"""The brokers of a site, as one host's actors know them."""

from __future__ import annotations

from typing import Any

from holdfast.actors.supervision.known_brokers import known_brokers


def actor(name: str, kind: str, **given: Any) -> dict[str, Any]:
    """A row of the status."""
    made = {"name": name, "kind": kind, "state": "READY", "robot": None, "reason": ""}
    return {**made, "uptime_s": 9.0, "report": {}, **given}


def seen(endpoint: str, open_s: float | None, *, used: bool, reason: str = "") -> dict[str, Any]:
    return {"endpoint": endpoint, "open_s": open_s, "used": used, "reason": reason}


def test_a_host_shows_all_brokers_that_its_actors_know_and_who_uses_them() -> None:
    """A robot's front and a replica's back at one address are one broker."""
    hub, spare = "tcp://10.0.0.2", "tcp://[fd00::3]"
    robot = [
        seen(f"{hub}:7447", None, used=False, reason="nothing answers"),
        seen(f"{spare}:7447", 4.0, used=True),
    ]
    replica = [seen(f"{hub}:7448", 2.0, used=True), seen(f"{spare}:7448", 5.0, used=True)]
    rows = known_brokers(
        [
            actor("r1/network", "network", robot="r1", report={"brokers": robot}),
            actor("pick/0", "inference", report={"brokers": replica}),
            actor("pick/1", "inference", state="BACKOFF", report={"brokers": replica}),
        ]
    )
    found = {r["address"]: (r["state"], r["reachable_s"], r["reason"], r["users"]) for r in rows}
    assert found == {
        "10.0.0.2": ("READY", 2.0, "r1/network: nothing answers", ["pick/0"]),
        "[fd00::3]": ("READY", 5.0, "", ["pick/0", "r1"]),
    }


def test_a_brokers_host_shows_its_own_and_the_others() -> None:
    """Its users are those that the broker has; a broker that does not run is not reachable."""
    report = {
        "sessions": [{"robot": "r1", "state": "open"}, {"robot": "r2", "state": "none"}],
        "replicas": [{"name": "pick/0"}],
        "other_brokers": [seen("tcp://10.0.0.3:7447", None, used=False, reason="it is silent")],
    }
    own, other = known_brokers([actor("broker", "broker", report=report)])
    assert (own["address"], own["users"], own["reachable_s"]) == ("", ["pick/0", "r1"], 9.0)
    assert (other["state"], other["reason"]) == ("UNREACHABLE", "broker: it is silent")
    (down,) = known_brokers([actor("broker", "broker", state="BACKOFF", report=report)])
    assert (down["state"], down["reason"]) == ("UNREACHABLE", "broker: it is BACKOFF")


def test_a_report_of_another_form_is_left_out() -> None:
    """A board may hold anything."""
    for wrong in (3, [3, {}, {"endpoint": 1}]):
        assert known_brokers([actor("a", "network", report={"brokers": wrong})]) == []
    odd = {"brokers": [{"endpoint": "tcp://10.0.0.2:1", "open_s": "long"}]}
    assert known_brokers([actor("a", "network", report=odd)])[0]["state"] == "UNREACHABLE"
    assert known_brokers([actor("a", "network", report=None), actor("c", "control")]) == []
