"""The metadata that RoboArena's clients expect of a server: its `PolicyServerConfig`.

Source: robo-arena/roboarena, `roboarena/policy_server.py`. Its clients speak openpi's protocol;
each request has a key `endpoint`, `infer` or `reset`, and the answer to a reset is a text.
"""

from __future__ import annotations

from typing import Any

from ...policy.base import PolicySpec

RESET_ANSWER = "reset successful"


def server_config(spec: PolicySpec) -> dict[str, Any]:
    """The fields of `PolicyServerConfig`, exactly: its clients pass them on as keyword arguments.

    A camera with `wrist` in its name is the wrist's, one that ends in `right` the other eye of a
    stereo camera. `fleet.yaml` may replace each.
    """
    cameras = [camera.name for camera in spec.cameras]
    stereo = any(name.endswith("right") for name in cameras)
    external = [c for c in cameras if "wrist" not in c and not c.endswith("right")]
    sizes = {(camera.height, camera.width) for camera in spec.cameras}
    return {
        "image_resolution": next(iter(sizes)) if len(sizes) == 1 else None,
        "needs_wrist_camera": any("wrist" in name for name in cameras),
        "n_external_cameras": len(external),
        "needs_stereo_camera": stereo,
        "needs_session_id": False,
        "action_space": f"joint_{spec.control_mode}",
    }
