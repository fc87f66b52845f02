"""`hub_errors`: what the hub's library raises, as errors of ours that say what to do.

No text of ours contains the token, although an error of the library may quote a header."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import huggingface_hub
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
)

from ...errors import DatasetError, HubUnreachableError

# The hub's library derives its errors from those of its HTTP client, which differs by version.
_CLIENT_ERROR: type[Exception] = HfHubHTTPError.__mro__[1]
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_AGAIN_LATER = {408, 429}


@contextmanager
def translated(repo_id: str) -> Iterator[None]:
    """Raises HubUnreachableError where the same call may succeed later, DatasetError where not."""
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise HubUnreachableError("HF_HUB_OFFLINE is set: unset it to upload") from error
    except HFValidationError as error:
        raise DatasetError(f"{repo_id!r} is no name of a repository, such as lab/pick") from error
    except (_CLIENT_ERROR, RuntimeError, ConnectionError, ValueError) as error:
        answered = next((e for e in _causes(error) if isinstance(e, HfHubHTTPError)), None)
        if answered is not None:
            raise _refusal(answered, repo_id) from error
        # What is no JSON is the page of a proxy, or of a network that asks for a login.
        passing = (_CLIENT_ERROR, ConnectionError, json.JSONDecodeError)
        unreachable = any(isinstance(each, passing) for each in _causes(error))
        *_, last = _causes(error)
        why = f"{type(last).__name__}: {_without_token(str(last))}"
        if unreachable:
            endpoint = huggingface_hub.constants.ENDPOINT
            raise HubUnreachableError(f"{endpoint} is not reachable ({why})") from error
        raise DatasetError(f"the upload to {repo_id} failed ({why})") from error


def _refusal(error: HfHubHTTPError, repo_id: str) -> Exception:
    status = error.response.status_code
    said = _without_token(error.server_message or "").strip().partition("\n")[0]
    said = f": {said}" if said else ""
    if status == 401:
        if huggingface_hub.get_token() is None:
            return DatasetError(
                f"an upload to {repo_id} needs a token, and there is none: {_LOG_IN}"
            )
        return DatasetError(f"the hub does not accept the token (401{said}): {_LOG_IN}")
    if status == 403:
        return DatasetError(
            f"the token has no right to write to {repo_id} (403{said}): {_LOG_IN}, with a token "
            f"that may write there"
        )
    if status == 404:
        return DatasetError(
            f"the hub has no {repo_id} that this token may see (404{said}): the part before the "
            "slash must be your account's name or an organization of yours"
        )
    if status >= 500 or status in _AGAIN_LATER:
        return HubUnreachableError(f"the hub answers with status {status}{said}")
    return DatasetError(f"the hub refuses the upload to {repo_id} ({status}{said})")


def _without_token(text: str) -> str:
    token = huggingface_hub.get_token()
    if "Bearer" in text or (token and token in text):
        return "its text is not shown: it has the token"
    return text[:200]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
