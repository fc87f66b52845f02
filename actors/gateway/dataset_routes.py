"""What the gateway answers of recorded datasets. All of it only reads.

/api/datasets                               each: episodes, frames, cameras, what is wrong
/api/datasets/<name>                        the same of one, and its tasks
/api/datasets/<name>/episodes               a page: ?from=0&limit=50&success=yes|no|unjudged
                                            &intervention=yes|no&task=WORDS
/api/datasets/<name>/episodes/<k>           one episode, with the addresses of its videos
/api/datasets/<name>/episodes/<k>/rows      ?from=0: columns of up to 4096 rows
/api/datasets/<name>/episodes/<k>/video/<camera>   the mp4, whole or a range of its bytes
/api/datasets/<name>/episodes/<k>/image/<camera>/<frame>   an image that is stored in the rows

What the path names and is not there is answered by 404, a parameter behind the `?` with a value
that it cannot have by 400. The disk is read in threads, so that a slow one delays nothing else of
the gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

from ...errors import DatasetError
from . import file_response
from .server import HttpRequest, HttpResponse, json, text

PREFIX = "/api/datasets"
_CHOICES: dict[str, tuple[str, ...]] = {
    "success": ("", "yes", "no", "unjudged"),
    "intervention": ("", "yes", "no"),
}


class DatasetRoutes:
    """Answers GET and HEAD below /api/datasets. `datasets` are roots by name; `ticket` makes the
    word that opens a video's path without the token: a browser's video element sends no header.
    `fleet` says whether the page of a fleet is beside."""

    def __init__(
        self, datasets: Mapping[str, str], ticket: Callable[[str], str], *, fleet: bool = True
    ) -> None:
        self.datasets = dict(datasets)
        self._fleet = fleet
        self._ticket = ticket

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """The response to `request`, whose path begins with PREFIX."""
        try:
            return await self._answer(request)
        except DatasetError as error:
            return json(404, {"error": str(error)})
        except _ParameterError as error:
            return json(400, {"error": str(error)})
        except OSError as error:
            return json(503, {"error": f"the dataset cannot be read: {error}"})
        except ModuleNotFoundError as error:
            why = f"datasets need {error.name}, on this host: `pip install 'holdfast[data]'`"
            return json(501, {"error": why})

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        parts = request.path.removeprefix(PREFIX).strip("/").split("/")
        match parts:
            case [""]:
                return await _document(
                    lambda made: {"datasets": made.listing(self.datasets), "fleet": self._fleet}
                )
            case [name]:
                root = self._root(name)
                return await _document(lambda made: made.dataset(name, root))
            case [name, "episodes"]:
                return await self._page(request, self._root(name))
            case [name, "episodes", number]:
                root, index = self._root(name), _number("the episode", number)
                url = self._video_url(name, index)
                return await _document(lambda made: made.episode(root, index, url))
            case [name, "episodes", number, "rows"]:
                root, index = self._root(name), _number("the episode", number)
                start = _parameter(request, "from", 0)
                return await _document(lambda made: made.rows(root, index, start))
            case [name, "episodes", number, "video", camera]:
                root, index = self._root(name), _number("the episode", number)
                path = await asyncio.to_thread(lambda: _documents().video(root, index, camera))
                return await file_response.respond(request, path, "video/mp4")
            case [name, "episodes", number, "image", camera, frame]:
                root, index = self._root(name), _number("the episode", number)
                at = _number("the frame", frame)
                content, kind = await asyncio.to_thread(
                    lambda: _documents().image(root, index, camera, at)
                )
                return HttpResponse(200, content, kind)
        return text(404, f"nothing of a dataset is at {request.path!r}")

    async def _page(self, request: HttpRequest, root: Path) -> HttpResponse:
        asked = request.query
        for name, choices in _CHOICES.items():
            if asked.get(name, "") not in choices:
                expected = ", ".join(filter(None, choices))
                raise _ParameterError(f"{name} is {asked[name]!r}, expected {expected}")
        start, limit = _parameter(request, "from", 0), _parameter(request, "limit", 50)
        by_hand = {"yes": True, "no": False}.get(asked.get("intervention", ""))
        wanted = {"success": asked.get("success") or None, "task": asked.get("task", "")}
        return await _document(
            lambda made: made.episodes(root, start, limit, intervention=by_hand, **wanted)
        )

    def _root(self, name: str) -> Path:
        root = self.datasets.get(name)
        if root is None:
            known = ", ".join(sorted(self.datasets)) or "none"
            raise DatasetError(f"no dataset {name!r}: this host records to {known}")
        return Path(root)

    def _video_url(self, name: str, index: int) -> Callable[[str], str]:
        def url(camera: str) -> str:
            path = f"{PREFIX}/{name}/episodes/{index}/video/{camera}"
            return f"{quote(path).lstrip('/')}?ticket={self._ticket(path)}"

        return url


def within(path: str) -> bool:
    """Whether `path` is answered by DatasetRoutes."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


async def _document(make: Callable[[ModuleType], object]) -> HttpResponse:
    return await asyncio.to_thread(lambda: json(200, make(_documents())))


def _documents() -> ModuleType:
    # Here, because it imports pyarrow: a gateway whose datasets are not looked at needs none.
    from . import dataset_documents

    return dataset_documents


def _number(what: str, said: str) -> int:
    """Of a part of the path."""
    if (number := _decimal(said)) is None:
        raise DatasetError(f"{what} is {said!r}, expected a number")
    return number


def _parameter(request: HttpRequest, name: str, usual: int) -> int:
    said = request.query.get(name, str(usual))
    if (number := _decimal(said)) is None:
        raise _ParameterError(f"{name} is {said!r}, expected a number")
    return number


def _decimal(said: str) -> int | None:
    return int(said) if said.isascii() and said.isdecimal() and len(said) <= 15 else None


class _ParameterError(Exception):
    """A parameter of the request has a value that it cannot have."""
