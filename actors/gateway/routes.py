"""What the gateway answers at which path.

/  /app.js  /style.css ...       the dashboard, as files of the package
/healthz                         503 while an actor of this host hangs or does not run
/readyz                          200 while the fleet is healthy, else 503 and why
/metrics                         for Prometheus; metrics.md lists the names
                                 with the token, see access.py:
/api/status                      the supervisor's report
/api/events                      the same as server-sent events, with timelines and what happened
/api/camera/<robot>/<camera>.jpg the newest frame, small
/api/datasets...                 what was recorded, see dataset_routes.py
POST /api/robots/<robot>/<pause|resume|reset|take-over>
POST /api/robots/<robot>/episode-<start|success|failure|stop|rerecord|discard|save>
POST /api/robots/<robot>/task     {"task": "..."}: another task in the same episode
POST /api/actors/<actor>/restart
POST /api/estop                  the emergency stop of all robots of the site, or with the body
                                 {"robot": "..."} of one, whatever its name
POST /api/release                {"robot": "..."}: lifts its stop; {"all": true}: every stop
POST /api/robots/<robot>/<estop|release>
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import msgspec

from ...errors import FrameError, RequestDeclinedError, SupervisorUnreachableError
from ..supervision.health import failing, unhealthy
from .access import Access
from .cameras import Thumbnails
from .dataset_routes import DatasetRoutes, within
from .emergency_stop_buttons import EmergencyStopButtons
from .metrics import Exposition
from .page_files import pages
from .server import HttpRequest, HttpResponse, json, not_allowed, text
from .status_stream import StatusStream
from .supervisor_client import EPISODE_VERBS, SupervisorClient

STALE_S = 5.0
"""A report older than this is out of date."""

_ROBOT_VERBS = ("pause", "resume", "reset", "take-over")


class _TaskBody(msgspec.Struct, frozen=True):
    task: str


class _RobotBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    robot: str


class _AllBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    all: bool


class Routes:
    """Answers requests from the history of `stream`; only commands go to the supervisor, and
    the emergency stop to the drivers."""

    def __init__(
        self,
        access: Access,
        stream: StatusStream,
        supervisor: SupervisorClient,
        thumbnails: Thumbnails,
        exposition: Exposition,
        buttons: EmergencyStopButtons,
        datasets: DatasetRoutes,
    ) -> None:
        self._access = access
        self._stream = stream
        self._supervisor = supervisor
        self._thumbnails = thumbnails
        self._exposition = exposition
        self._buttons = buttons
        self._datasets = datasets
        self._pages = pages()
        self._looks: dict[str, Callable[[HttpRequest], HttpResponse]] = {
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/metrics": self._metrics,
            "/api/status": self._status,
            "/api/events": self._events,
        }

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """The response to `request`; every refusal is one too."""
        refusal = self._access.refusal(request)
        if refusal is not None:
            return refusal
        if request.method == "POST":
            return await self._command(request)
        if request.method not in ("GET", "HEAD"):
            return not_allowed("GET, HEAD, POST")
        if request.path in self._looks:
            return self._looks[request.path](request)
        if request.path.startswith("/api/camera/") and request.path.endswith(".jpg"):
            return self._camera(request.path[len("/api/camera/") : -len(".jpg")])
        if within(request.path):
            return await self._datasets.answer(request)
        return self._pages.get(request.path) or text(404, f"nothing is at {request.path!r}")

    def _health(self, request: HttpRequest) -> HttpResponse:
        """A fleet that is being started fails nothing yet."""
        report = self._stream.history.report
        if report is None:
            return text(200, "ok")
        return self._verdict(request, "ok", "not healthy", failing(report))

    def _readiness(self, request: HttpRequest) -> HttpResponse:
        report = self._stream.history.report
        why = ["the supervisor has not answered yet"]
        if report is not None:
            why = [] if report["healthy"] else unhealthy(report) or ["nothing is READY"]
        return self._verdict(request, "ready", "not ready", why)

    def _verdict(self, request: HttpRequest, well: str, ill: str, why: list[str]) -> HttpResponse:
        """200 if `why` is empty, else 503, with the reasons for a trusted client."""
        history = self._stream.history
        if history.report is not None and time.monotonic() - history.reported_s > STALE_S:
            why = [history.trouble or "the supervisor's report is too old"]
        if not why:
            return text(200, well)
        return text(503, f"{ill}: {'; '.join(why)}" if self._access.trusts(request) else ill)

    def _metrics(self, request: HttpRequest) -> HttpResponse:
        body, content_type = self._exposition.render(request.headers.get("accept", ""))
        return HttpResponse(200, body, content_type)

    def _status(self, request: HttpRequest) -> HttpResponse:
        history = self._stream.history
        if history.report is None:
            return json(503, {"error": history.trouble})
        age_s = time.monotonic() - history.reported_s
        return HttpResponse(
            200,
            msgspec.json.encode(history.report),
            "application/json",
            {"x-age-seconds": f"{age_s:.3f}"},
        )

    def _events(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, _as_sse(self._stream.messages()), "text/event-stream")

    def _camera(self, camera: str) -> HttpResponse:
        if camera not in self._thumbnails:
            known = ", ".join(sorted(self._thumbnails)) or "none of this host"
            return text(404, f"no camera {camera!r}: expected one of {known}")
        try:
            newest = self._thumbnails.newest(camera)
        except FrameError as error:
            return text(503, f"camera {camera}: {error}")
        if newest is None:
            return text(503, f"camera {camera} has no frame yet")
        headers = {"x-frame": str(newest.number), "x-frame-age-ms": str(newest.age_ms)}
        return HttpResponse(200, newest.jpeg, "image/jpeg", headers)

    async def _command(self, request: HttpRequest) -> HttpResponse:
        path = request.path
        what, _, verb = path.rpartition("/")
        asked: Awaitable[object]
        if path == "/api/estop" and not request.body:
            asked = self._buttons.stop(None)
        elif path == "/api/release" and _is_all(request.body):
            asked = self._buttons.release(None)
        elif path in ("/api/estop", "/api/release"):
            robot = _robot(request.body)
            if robot is None:
                words = 'nothing was done: expected the robot as {"robot": "its name"}'
                return json(400, {"error": words})
            button = self._buttons.stop if path == "/api/estop" else self._buttons.release
            asked = button(robot)
        elif what.startswith("/api/robots/") and verb in ("estop", "release"):
            button = self._buttons.stop if verb == "estop" else self._buttons.release
            asked = button(what.removeprefix("/api/robots/"))
        elif what.startswith("/api/robots/") and verb in _ROBOT_VERBS:
            asked = self._supervisor.robot(what.removeprefix("/api/robots/"), verb)
        elif what.startswith("/api/robots/") and verb in EPISODE_VERBS:
            asked = self._supervisor.episode(what.removeprefix("/api/robots/"), verb)
        elif what.startswith("/api/robots/") and verb == "task":
            task = _task(request.body)
            if task is None:
                return json(400, {"error": 'expected the task as {"task": "a sentence"}'})
            asked = self._supervisor.change_task(what.removeprefix("/api/robots/"), task)
        elif what.startswith("/api/actors/") and verb == "restart":
            asked = self._supervisor.restart(what.removeprefix("/api/actors/"))
        else:
            return text(
                404,
                f"no command is at {path!r}: expected /api/robots/NAME/"
                f"{{{','.join((*_ROBOT_VERBS, *EPISODE_VERBS, 'task', 'estop', 'release'))}}}, "
                "/api/estop, /api/release or /api/actors/NAME/restart",
            )
        return await _outcome(asked)


def _task(body: bytes) -> str | None:
    """The task in a command's body; None if there is none."""
    try:
        return msgspec.json.decode(body, type=_TaskBody).task
    except msgspec.MsgspecError:
        return None


def _robot(body: bytes) -> str | None:
    """The robot in a command's body; None if there is none."""
    try:
        return msgspec.json.decode(body, type=_RobotBody).robot
    except msgspec.MsgspecError:
        return None


def _is_all(body: bytes) -> bool:
    """Whether a command's body says that all robots are meant: not by leaving out a name."""
    try:
        return msgspec.json.decode(body, type=_AllBody).all
    except msgspec.MsgspecError:
        return False


async def _outcome(asked: Awaitable[object]) -> HttpResponse:
    try:
        return json(200, {"result": await asked})
    except RequestDeclinedError as error:
        return json(409, {"error": str(error)})
    except SupervisorUnreachableError as error:
        return json(503, {"error": str(error)})


async def _as_sse(messages: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(messages):
        async for message in messages:
            yield b"data: %s\n\n" % message
