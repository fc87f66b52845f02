"""The requests of a running fleet arrive at a collector, each as one trace of all its processes."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from holdfast.tests.e2e.conftest import StartFleet
from holdfast.tests.waiting import wait_until

collector = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

FLEET = """
name: traced
telemetry: {otlp: "http://127.0.0.1:PORT"}
services:
  pick: {policy: constant, checkpoint: conveyor-flow}
robots:
  - name: r1
    service: pick
    driver: sim
    cameras:
      overhead: {width: 96, height: 96}
      wrist: {width: 96, height: 96}
gateway: {enabled: false}
"""


class Collector(ThreadingHTTPServer):
    """A collector on loopback: the spans that it was sent, by trace."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.traces: dict[bytes, dict[bytes, dict[str, Any]]] = defaultdict(dict)
        self.paths: set[str] = set()

    def take(self, body: bytes) -> None:
        request = collector.ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            about = {a.key: a.value.string_value for a in resource.resource.attributes}
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                self.traces[span.trace_id][span.span_id] = {
                    "process": about["service.name"],
                    "fleet": about["service.namespace"],
                    "name": span.name,
                    "parent": span.parent_span_id,
                    "times": (span.start_time_unix_nano, span.end_time_unix_nano),
                }


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        self.server.paths.add(self.path)
        self.server.take(body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


PARTS = {"request", "network", "replica", "queue", "inference", "answer"}
"""Of every trace; one of a request that the broker was asked has a span of the broker too."""


@pytest.mark.slow
def test_a_request_is_one_trace_over_all_its_processes(
    start_fleet: StartFleet, tmp_path: Path, receiver: Collector
) -> None:
    """From control's observation to the first action played, with the parents right."""
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET.replace("PORT", str(receiver.server_port)))
    start_fleet(fleet=file)

    def whole() -> list[dict[bytes, dict[str, Any]]]:
        traces = list(receiver.traces.values())
        return [
            trace
            for trace in map(dict, traces)
            if {span["name"] for span in trace.values()} >= PARTS
            and all(span["parent"] in {b"", *trace} for span in trace.values())
        ]

    wait_until(lambda: len(whole()) >= 3, "three whole traces", 120)
    assert receiver.paths == {"/v1/traces"}
    for trace in whole():
        by_name = {span["name"]: (key, span) for key, span in trace.items()}
        processes = {name: span["process"] for name, (_, span) in by_name.items()}
        assert processes["request"] == "r1/control" and processes["network"] == "r1/network"
        assert processes["inference"] == "pick/0"
        assert processes.get("broker", "broker") == "broker"
        for inner, outer in [
            ("network", "request"),
            ("broker", "network"),
            ("queue", "replica"),
            ("inference", "replica"),
            ("answer", "replica"),
        ]:
            if inner in by_name:  # the broker is passed by
                assert by_name[inner][1]["parent"] == by_name[outer][0]
        above = {by_name[name][0] for name in ("network", "broker") if name in by_name}
        assert by_name["replica"][1]["parent"] in above
        assert by_name["request"][1]["parent"] == b""
        assert all(begin_ns <= end_ns for begin_ns, end_ns in (s["times"] for s in trace.values()))
    wait_until(lambda: sum(map(within_its_request, whole())) >= 3, "three in the order of time")


def within_its_request(trace: dict[bytes, dict[str, Any]]) -> bool:
    """Whether no span begins before the request or ends after it: on one host all instants are of
    one clock. Records are made some microseconds after; a busy machine makes more of them."""
    begin_ns, end_ns = next(s["times"] for s in trace.values() if s["name"] == "request")
    return all(
        begin_ns - 50_000_000 <= begins_ns and ends_ns <= end_ns + 50_000_000
        for begins_ns, ends_ns in (span["times"] for span in trace.values())
    )
