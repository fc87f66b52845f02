"""The store of tokens and enrolled keys against a model, with processes killed at any write."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import pytest
import zmq
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.actors.broker.enrolment_store import EnrolmentStore
from holdfast.errors import KeyFileError
from holdfast.transport import enrolment_tokens, key_file
from holdfast.transport.enrolment_tokens import TokenRecord, issue, load_token
from holdfast.transport.key_bodies import PeerKey
from holdfast.transport.keyring import FollowedRing
from holdfast.transport.keys import KeyOwner, PublicKey, Role, new
from holdfast.transport.revoking import revoke

KEYS = [zmq.curve_keypair()[0].decode() for _ in range(6)]
NAMES = ["pick/a", "pick/b", "pick/c", "other/a"]
BROKER = PublicKey(KeyOwner("broker", Role.BROKER), zmq.curve_keypair()[0])
PATTERNS = {"pick/*": 2, "pick/a": 1, "pick/b": 1}


class KilledError(Exception):
    """Stands in for the end of the process."""


class Enrolling(RuleBasedStateMachine):
    """One broker's store. `accepted`: the key of each name; `used`: the keys of each token."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="hf-enrol-"))
        self.store = EnrolmentStore(self.root, "broker")
        self.issued: list[TokenRecord] = []
        self.accepted: dict[str, str] = {}
        self.used: dict[str, set[str]] = {}
        self.revoked: set[str] = set()
        self.now_s = 0

    def teardown(self) -> None:
        if hasattr(self, "root"):
            shutil.rmtree(self.root)

    @precondition(lambda self: len(self.issued) < 3)
    @rule(pattern=st.sampled_from(list(PATTERNS)))
    def issue(self, pattern: str) -> None:
        for old in self.root.glob("*.token"):
            old.unlink()
        made, _ = issue(
            pattern,
            Role.REPLICA,
            self.root,
            BROKER,
            expires_s=self.now_s + 2,
            uses=PATTERNS[pattern],
        )
        self.issued.append(made)
        self.used[made.id] = set()

    @precondition(lambda self: self.issued)
    @rule(data=st.data(), name=st.sampled_from(NAMES), key=st.sampled_from(KEYS))
    def enrol(self, data: st.DataObject, name: str, key: str) -> None:
        token = data.draw(st.sampled_from(self.issued))
        killed_at = data.draw(st.sampled_from([None, None, "replace", "append"]))
        again = self.accepted.get(name) == key and key in self.used[token.id]
        grant = again or (
            enrolment_tokens.names(token.name, name)
            and key not in self.revoked
            and self.now_s <= token.expires_s
            and len(self.used[token.id]) < token.uses
            and name not in self.accepted
            and key not in self.accepted.values()
        )
        killed = False
        refusal = None
        with ExitStack() as patched:
            if killed_at is not None:
                patched.enter_context(patch.object(key_file, killed_at, side_effect=KilledError))
            try:
                refusal = self.store.enrol(token.id, Role.REPLICA, name, key, self.now_s)
            except KilledError:
                killed = True
        if killed:
            assert grant
            self.store = EnrolmentStore(self.root, "broker")
            if killed_at == "append":  # the key was written: its peer may use it
                self._granted(token, name, key)
            return
        assert (refusal is None) == grant, refusal
        if grant:
            self._granted(token, name, key)

    def _granted(self, token: TokenRecord, name: str, key: str) -> None:
        self.accepted[name] = key
        self.used[token.id].add(key)

    @rule(name=st.sampled_from(NAMES))
    def revoke(self, name: str) -> None:
        assert bool(revoke(self.root, name)) == (name in self.accepted)
        if name in self.accepted:
            self.revoked.add(self.accepted.pop(name))

    @rule()
    def restart(self) -> None:
        self.store = EnrolmentStore(self.root, "broker")

    @rule()
    def time_passes(self) -> None:
        self.now_s += 1

    @invariant()
    def the_ring_accepts_what_is_enrolled_and_no_more(self) -> None:
        if not hasattr(self, "root"):
            return
        ring = FollowedRing(self.root).ring
        for key in KEYS:
            owner = ring.peer(key.encode())
            names = [name for name, own in self.accepted.items() if own == key]
            assert names == ([] if owner is None else [owner.name])
        for token in self.issued:
            assert len(self.used[token.id]) <= token.uses


TestEnrolling = Enrolling.TestCase
TestEnrolling.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.fixture
def store(tmp_path: Path) -> EnrolmentStore:
    return EnrolmentStore(tmp_path, "broker")


def test_a_token_is_good_for_its_own_broker_role_and_name(
    store: EnrolmentStore, tmp_path: Path
) -> None:
    """All else is refused by name, and uses nothing up."""
    record, _ = issue("pick/*", Role.REPLICA, tmp_path, BROKER, expires_s=10, uses=2)
    cases = {
        "token-unknown": ("0000", Role.REPLICA, "pick/0"),
        "token-role": (record.id, Role.ROBOT, "pick/0"),
        "token-name": (record.id, Role.REPLICA, "place/0"),
    }
    for reason, (token, role, name) in cases.items():
        refusal = store.enrol(token, role, name, KEYS[0], 5)
        assert refusal is not None and refusal.reason == reason
    elsewhere = EnrolmentStore(tmp_path, "broker/other")
    refusal = elsewhere.enrol(record.id, Role.REPLICA, "pick/0", KEYS[0], 5)
    assert refusal is not None and refusal.reason == "token-unknown"
    late = store.enrol(record.id, Role.REPLICA, "pick/0", KEYS[0], 11)
    assert late is not None and late.reason == "token-expired"
    assert store.enrol(record.id, Role.REPLICA, "pick/0", KEYS[0], 5) is None
    assert store.enrol(record.id, Role.REPLICA, "pick/0", KEYS[0], 11) is None, (
        "the answer was lost"
    )


def test_a_name_with_a_key_that_was_made_by_hand_does_not_enrol(
    store: EnrolmentStore, tmp_path: Path
) -> None:
    """A token takes no name away from its holder."""
    new("r1", Role.ROBOT, tmp_path)
    record, _ = issue("r1", Role.ROBOT, tmp_path, BROKER, expires_s=10)
    refusal = store.enrol(record.id, Role.ROBOT, "r1", KEYS[0], 5)
    assert refusal is not None and refusal.reason == "name-taken"


def test_a_mirror_follows_what_another_broker_says(tmp_path: Path) -> None:
    """Its keys come and go with it; what it revoked is revoked here, and stays so."""
    for each in ("a", "b"):
        (tmp_path / each).mkdir()
    there, here = (EnrolmentStore(tmp_path / each, f"broker/{each}") for each in ("a", "b"))
    broker = PublicKey(KeyOwner("broker/a", Role.BROKER), BROKER.public)
    record, _ = issue("pick/*", Role.REPLICA, tmp_path / "a", broker, expires_s=10, uses=3)
    for name, key in zip(("pick/0", "pick/1"), KEYS, strict=False):
        assert there.enrol(record.id, Role.REPLICA, name, key, 5) is None
    ring = FollowedRing(tmp_path / "b")
    here.mirror("broker/a", there.keys())
    ring.follow()
    assert [ring.ring.peer(key.encode()) is not None for key in KEYS[:2]] == [True, True]
    assert revoke(tmp_path / "b", "pick/0"), "on any broker's host"
    here.mirror("broker/a", there.keys())
    assert ring.follow() == {KEYS[0].encode()}
    there.mirror("broker/b", here.keys())
    there_ring = FollowedRing(tmp_path / "a")
    assert there_ring.ring.peer(KEYS[0].encode()) is None
    assert there_ring.ring.peer(KEYS[1].encode()) == KeyOwner("pick/1", Role.REPLICA)


def test_a_broker_believes_no_path_and_no_role_of_another(tmp_path: Path) -> None:
    """A key is stored below the other's own folder, as that of a robot or a replica."""
    store = EnrolmentStore(tmp_path, "broker/b")
    sent = [
        PeerKey(key=KEYS[0], name="../../r1", role="robot"),
        PeerKey(key=KEYS[1], name="broker/c", role="broker"),
        PeerKey(key="short", name="r2", role="robot"),
        PeerKey(key=KEYS[2], name="r3", role="robot"),
    ]
    store.mirror("broker/a", sent)
    files = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.pub")]
    assert files == ["enrolled/broker@a/r3.pub"]


def test_a_tokens_file_is_private_and_its_record_holds_no_secret(tmp_path: Path) -> None:
    """0600; the secret half is with its holder only; a readable one is refused."""
    record, path = issue("r1", Role.ROBOT, tmp_path, BROKER, expires_s=10)
    assert path.stat().st_mode & 0o777 == 0o600
    secret = load_token(path).key.secret
    others = [p for p in tmp_path.rglob("*") if p.is_file() and p != path]
    assert others and all(secret not in p.read_bytes() for p in others)
    assert secret.decode() not in repr(load_token(path)) + repr(record)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="readable by others"):
        load_token(path)


@pytest.mark.parametrize(
    ("name", "role", "uses"),
    [
        ("broker", Role.BROKER, 1),
        ("operator", Role.OPERATOR, 1),
        ("r1", Role.ROBOT, 2),
        ("pick/0", Role.REPLICA, 2),
        ("pick/*", Role.REPLICA, 1001),
        ("*", Role.REPLICA, 1),
        ("../*", Role.REPLICA, 1),
        ("r1", Role.REPLICA, 1),
    ],
)
def test_a_token_that_would_enrol_too_much_is_not_made(
    name: str, role: Role, uses: int, tmp_path: Path
) -> None:
    """Neither for brokers and operators, nor several times for one name."""
    with pytest.raises(KeyFileError):
        issue(name, role, tmp_path, BROKER, expires_s=10, uses=uses)
    assert not list(tmp_path.glob("**/*.pub"))
