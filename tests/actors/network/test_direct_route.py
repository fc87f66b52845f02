"""Which requests go straight to a replica, and which by the broker."""

from __future__ import annotations

from holdfast.actors.network.broker_route import BrokerRoute
from holdfast.actors.network.direct_path import DirectRoute, SentStraight
from holdfast.tests.properties.direct_site import DirectSite
from holdfast.transport.header import Header, Kind

MS = 1_000_000
LATE_NS = 40 * MS


def asked(seq: int, at_ns: int) -> SentStraight:
    return SentStraight(Header(Kind.REQUEST, seq), [b""], at_ns)


def next_goes_straight(route: DirectRoute) -> bool:
    return route.chosen


def test_a_request_that_the_broker_owes_is_followed_by_one_to_the_broker() -> None:
    """Until the broker has answered that one, or a newer one."""
    route = DirectRoute(LATE_NS)
    route.at_replica(usable=True)
    route.sent(asked(1, 0))
    assert route.late(LATE_NS - 1) is None
    assert route.late(LATE_NS) == asked(1, 0)
    route.by_broker(1, LATE_NS)
    assert route.late(2 * LATE_NS) is None
    route.settled(LATE_NS - 1)
    assert not next_goes_straight(route), "the broker still waits for it"
    route.answered_by_broker(0)
    assert not next_goes_straight(route)
    route.answered_by_broker(1)
    assert next_goes_straight(route)
    assert route.has_two_answers(1)


def test_slow_answers_keep_requests_at_the_broker_until_one_is_fast() -> None:
    """Whichever way they come; a new session begins afresh."""
    route = DirectRoute(LATE_NS)
    route.at_replica(usable=True)
    route.sent(asked(1, 0))
    assert route.answered(1)
    route.settled(LATE_NS)
    assert not next_goes_straight(route)
    route.by_broker(2, 100 * MS)
    route.answered_by_broker(2)
    route.settled(100 * MS + LATE_NS)
    assert not next_goes_straight(route)
    route.by_broker(3, 200 * MS)
    route.answered_by_broker(3)
    route.settled(200 * MS + LATE_NS - 1)
    assert next_goes_straight(route)
    route.end()
    assert not next_goes_straight(route)
    route.at_replica(usable=True)
    assert next_goes_straight(route)


def test_a_request_goes_by_the_broker_once_a_minute() -> None:
    """A broker that does not read the counts of straight answers knows that the session is used."""
    route = DirectRoute(LATE_NS)
    route.opened(0)
    route.at_replica(usable=True)
    assert route.takes(60_000 * MS - 1) and not route.takes(60_000 * MS)
    route.by_broker(1, 60_000 * MS)
    route.answered_by_broker(1)
    assert route.takes(120_000 * MS - 1)


def test_the_broker_owes_only_what_it_was_asked() -> None:
    """Not a request that went straight, also when its answer does not count any more."""
    route = DirectRoute(LATE_NS)
    route.at_replica(usable=True)
    route.sent(asked(1, 0))
    route.forget()
    assert route.owed is None
    route.by_broker(2, 1)
    assert route.owed == 2


def test_the_next_broker_is_told_of_no_answer_from_before_its_open() -> None:
    """Else it counts them too, and takes later ones for none."""
    site = DirectSite()
    site.paths.route = BrokerRoute(2, 500 * MS)
    site.join()
    site.direct.answers = 300
    site.paths.route.connection(1, is_open=True)
    site.paths.route.heard(1, site.now_ns)
    site.to_broker.clear()
    lost = Header(Kind.EVENT, epoch=site.epoch)
    assert site.session.consume(lost, [], "lost", site.now_ns) is not None
    [opening] = site.to_broker
    assert Header.unpack(opening[0]).kind is Kind.OPEN
    assert site.direct.answers == 0
