"""Roll out a model version without an unserved request: load, canary, compare, stable, unload.

Usage: `python -m tools.model_rollout VERSION [--server HOST:PORT] [--config FILE] …`. Works with
TensorFlow Serving and with the embedded model server (`models_config_file`). Each step edits
`models.config` and waits until the server has applied it:

1. load: list the new version beside the old one; wait until its state is AVAILABLE;
2. move the label `canary`;
3. compare the predictions of both versions on the same faces;
4. move the label `stable`;
5. unload: list only the new version.

One edit must not do two of these: the server changes labels before it loads versions, and refuses
a label whose version is not available. Requests without a label go to the highest loaded version,
so workers use a higher new version from step 1 on. If a step fails, the labels move back first and
then the new version is unloaded: roll back by the same command with the old version.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
import numpy as np
from facestream.common.broker.pb.serving import serving_pb2 as pb
from facestream.common.core.errors import FacestreamError, ModelError
from facestream.common.serving import tf_serving_wire
from facestream.common.vision.crop_codec import decode_crop
from facestream.model_server.model_config import parse_models_config
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "deploy" / "serving" / "models.config"
_INPUT, _CROP_PX = "faces", 128
_RPC_TIMEOUT_S = 10.0
_SPECIFIC = re.compile(r"(\bspecific\s*:?\s*\{)[^{}]*(\})")


class RolloutError(FacestreamError):
    """A step failed or took too long."""


class ModelClient:
    """gRPC client of one model of a model server."""

    def __init__(self, address: str, model: str) -> None:
        self._model = model
        self._channel = grpc.insecure_channel(address)
        self._predict = self._channel.unary_unary(
            tf_serving_wire.PREDICT,
            request_serializer=pb.PredictRequest.SerializeToString,
            response_deserializer=pb.PredictResponse.FromString,
        )
        self._status = self._channel.unary_unary(
            tf_serving_wire.GET_MODEL_STATUS,
            request_serializer=pb.GetModelStatusRequest.SerializeToString,
            response_deserializer=pb.GetModelStatusResponse.FromString,
        )

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def states(self) -> dict[int, int]:
        """Return the state of each known version."""
        request = pb.GetModelStatusRequest()
        request.model_spec.name = self._model
        response = self._status(request, timeout=_RPC_TIMEOUT_S)
        return {entry.version: entry.state for entry in response.model_version_status}

    def predict(
        self, faces: NDArray[np.uint8], *, version: int | None = None, label: str | None = None
    ) -> tuple[int, dict[str, NDArray[np.float32]]]:
        """Return the version that responded, and its outputs."""
        request = pb.PredictRequest()
        request.model_spec.name = self._model
        if version is not None:
            request.model_spec.version.value = version
        if label is not None:
            request.model_spec.version_label = label
        tf_serving_wire.fill_tensor(request.inputs[_INPUT], faces)
        response = self._predict(request, timeout=_RPC_TIMEOUT_S)
        outputs = {
            name: tf_serving_wire.to_array(tensor, max_elements=len(faces) * 1000)
            for name, tensor in response.outputs.items()
        }
        return response.model_spec.version.value, outputs


class Rollout:
    """Steps of one rollout, each an edit of the configuration and a wait.

    Args:
        client: of the model server.
        config_file: `models.config` with one model of the policy `specific`.
        timeout_s: longest wait for one step.
        poll_s: interval between two requests while waiting.
        print_line: gets one line a step.
    """

    def __init__(
        self,
        client: ModelClient,
        config_file: Path,
        timeout_s: float,
        poll_s: float = 1.0,
        print_line: Callable[[str], None] = print,
    ) -> None:
        self._client, self._file = client, config_file
        self._timeout_s, self._poll_s, self._print = timeout_s, poll_s, print_line

    def run(self, version: int, faces: NDArray[np.uint8], max_age_change: float) -> None:
        """Roll out a version; undo what was done if a step fails.

        Raises:
            RolloutError: a step failed; the old version is served.
        """
        config = next(iter(parse_models_config(self._file.read_text()).values()))
        old = config.labels.get("stable") or max(config.versions)
        if version == old:
            raise RolloutError(f"version {version} is already stable")
        try:
            self._load({*config.versions, version}, version)
            self._move_label("canary", version, faces)
            self._compare(old, version, faces, max_age_change)
            self._move_label("stable", version, faces)
        except (RolloutError, grpc.RpcError) as error:
            self._roll_back(old, version, config.versions, faces)
            raise RolloutError(f"{_describe(error)}; rolled back to version {old}") from None
        self._set_versions({version})
        self._wait(
            f"version {old} is unloaded",
            lambda: self._client.states().get(old) not in (pb.ModelVersionStatus.AVAILABLE,),
        )
        self._print(f"rolled out version {version}; versions unloaded: {old}")

    def _load(self, versions: set[int], version: int) -> None:
        self._set_versions(versions)
        self._wait(
            f"version {version} is available",
            lambda: self._client.states().get(version) == pb.ModelVersionStatus.AVAILABLE,
        )

    def _move_label(self, label: str, version: int, faces: NDArray[np.uint8]) -> None:
        text, count = re.subn(
            rf'(key:\s*"{label}"\s*value:\s*)\d+', rf"\g<1>{version}", self._file.read_text()
        )
        if count != 1:
            raise RolloutError(f"{self._file}: expected one label {label!r}, found {count}")
        self._write(text)
        self._wait(
            f"label {label} is version {version}",
            lambda: self._client.predict(faces, label=label)[0] == version,
        )

    def _compare(self, old: int, new: int, faces: NDArray[np.uint8], max_age_change: float) -> None:
        before = self._client.predict(faces, version=old)[1]
        after = self._client.predict(faces, version=new)[1]
        if before.keys() != after.keys():
            raise RolloutError(f"outputs differ: {sorted(before)} and {sorted(after)}")
        if not all(np.isfinite(values).all() for values in after.values()):
            raise RolloutError(f"version {new} returns values that are not finite")
        if "age" in before:
            change = float(np.abs(after["age"] - before["age"]).mean())
            self._print(f"mean change of age on {len(faces)} faces: {change:.1f} years")
            if change > max_age_change:
                raise RolloutError(
                    f"mean change of age is {change:.1f} years, more than {max_age_change:g}"
                )

    def _roll_back(
        self, old: int, new: int, versions: frozenset[int], faces: NDArray[np.uint8]
    ) -> None:
        """Move the labels back, then unload the new version: in this order for the same reason."""
        for label in ("canary", "stable"):
            try:
                self._move_label(label, old, faces)
            except (RolloutError, grpc.RpcError) as error:
                self._print(f"rollback: {_describe(error)}")
        self._set_versions(versions - {new} or {old})

    def _set_versions(self, versions: set[int] | frozenset[int]) -> None:
        lines = "".join(f"\n        versions: {version}" for version in sorted(versions))
        text, count = _SPECIFIC.subn(rf"\g<1>{lines}\n      \g<2>", self._file.read_text())
        if count != 1:
            raise RolloutError(f"{self._file}: expected one model of policy `specific`")
        self._write(text)

    def _write(self, text: str) -> None:
        """Replace the file at once: the server never reads half of it."""
        parse_models_config(text)
        new = self._file.with_name(f".{self._file.name}.new")
        new.write_text(text)
        new.chmod(self._file.stat().st_mode & 0o777)
        os.replace(new, self._file)

    def _wait(self, goal: str, is_reached: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + self._timeout_s
        problem = ""
        while time.monotonic() < deadline_s:
            try:
                if is_reached():
                    self._print(goal)
                    return
            except grpc.RpcError as error:
                problem = f" ({_describe(error)})"
            time.sleep(self._poll_s)
        raise RolloutError(f"not reached within {self._timeout_s:g} s: {goal}{problem}")


def read_faces(folder: Path | None) -> NDArray[np.uint8]:
    """Return the JPEG crops of a folder, or random images without one; uint8 `[n, 128, 128, 3]`.

    Raises:
        RolloutError: the folder has no JPEG.
    """
    if folder is None:
        random = np.random.default_rng(0)
        return random.integers(0, 256, (4, _CROP_PX, _CROP_PX, 3), np.uint8)
    files = sorted(folder.glob("*.jp*g"))[:64]
    if not files:
        raise RolloutError(f"{folder}: no JPEG files")
    faces = np.empty((len(files), _CROP_PX, _CROP_PX, 3), np.uint8)
    for file, row in zip(files, faces, strict=True):
        decode_crop(file.read_bytes(), row)
    return faces


def _describe(error: BaseException) -> str:
    if isinstance(error, grpc.RpcError) and isinstance(error, grpc.Call):
        return f"{error.code().name}: {' '.join(str(error.details()).split())}"
    return str(error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.model_rollout", description=__doc__)
    parser.add_argument("version", type=int)
    parser.add_argument("--server", default="127.0.0.1:8500", help="gRPC address of the server")
    parser.add_argument("--model", default="age_gender")
    parser.add_argument("--config", type=Path, default=CONFIG, help="models.config of the server")
    parser.add_argument("--faces", type=Path, help="folder of JPEG face crops to compare on")
    parser.add_argument("--max-age-change", type=float, default=5.0, help="years, mean")
    parser.add_argument("--timeout-s", type=float, default=180.0, help="longest wait of one step")
    options = parser.parse_args(arguments)
    client = ModelClient(options.server, options.model)
    try:
        rollout = Rollout(client, options.config, options.timeout_s)
        rollout.run(options.version, read_faces(options.faces), options.max_age_change)
    except (FacestreamError, ModelError, OSError) as error:
        print(f"model_rollout: {error}", file=sys.stderr)
        return 1
    finally:
        client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
