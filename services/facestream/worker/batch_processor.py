"""Process one batch of faces: check, decode, infer.

Pending faces go in; the outcome of each comes out, for the result committer. Each inference thread
has its own processor, which owns the memory that crops are decoded into.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np

from facestream.common.broker.keys import MESSAGE_FIELD
from facestream.common.broker.messages import (
    FaceCrop,
    Result,
    decode_face,
    now_us,
    pack_distribution,
)
from facestream.common.core.errors import ImageError, MessageError, ModelError
from facestream.common.vision.crop_codec import decode_crop
from facestream.worker.drop_counter import Reason
from facestream.worker.face_consumer import PendingFace
from facestream.worker.metrics import WorkerMetrics
from facestream.worker.result_committer import DroppedFace, FaceResult
from facestream.worker.serving_client import (
    ModelServerUnavailableError,
    Predictions,
    ServingClient,
)

# A face that was delivered more often without an outcome is assumed to crash its workers. Each
# redelivery takes `claim_min_idle_s`; at the third delivery a face would be stale anyway.
MAX_DELIVERIES = 2

DecodedFace = tuple[PendingFace, FaceCrop]


class BatchProcessor:
    """Processor of batches for one thread.

    Args:
        client: the model server's client.
        metrics: the worker's metrics.
        models: names of the models, for the results.
        max_batch_size: largest batch.
        input_px: side of the model's square input.
        max_face_age_s: age at which a face is dropped as stale.
        stop: ends retries while the model server is unavailable.
    """

    def __init__(
        self,
        client: ServingClient,
        metrics: WorkerMetrics,
        *,
        models: Sequence[str],
        max_batch_size: int,
        input_px: int,
        max_face_age_s: float,
        stop: threading.Event,
    ) -> None:
        self._client, self._metrics = client, metrics
        self._model = ",".join(models)
        self._max_face_age_us = int(max_face_age_s * 1e6)
        self._rows = np.empty((max_batch_size, input_px, input_px, 3), np.uint8)
        self._stop = stop

    def process(self, batch: Sequence[PendingFace]) -> tuple[list[FaceResult], list[DroppedFace]]:
        """Decode the faces and run inference; return results and dropped faces.

        A face in neither list stays pending and is redelivered to the worker that claims it.
        """
        faces, dropped = self._partition(batch)
        if not faces:
            return [], dropped
        self._metrics.batch_size.observe(len(faces))
        newest_us = max(face.captured_us for _, face in faces)
        # Capped, in case the clock was set back after the capture.
        left_us = min(newest_us + self._max_face_age_us - now_us(), self._max_face_age_us)
        try:
            predictions = self._client.predict_with_retry(
                self._rows[: len(faces)], time.monotonic() + left_us / 1e6, self._stop
            )
        except ModelServerUnavailableError as error:
            if self._stop.is_set():
                return [], dropped
            detail = f"model server unavailable: {error}"
            return [], dropped + _drop_all(faces, "stale", detail)
        except ModelError as error:
            return [], dropped + _drop_all(faces, "dead_lettered", str(error))
        return self._create_results(faces, predictions, dropped)

    def _partition(
        self, batch: Sequence[PendingFace]
    ) -> tuple[list[DecodedFace], list[DroppedFace]]:
        """Decode the valid faces into the first rows; return them, and the dropped ones."""
        faces: list[DecodedFace] = []
        dropped: list[DroppedFace] = []
        stale_us = now_us() - self._max_face_age_us
        for pending_face in batch:
            try:
                face, crop = decode_face(pending_face.fields)
            except MessageError as error:
                is_ours = MESSAGE_FIELD in pending_face.fields
                reason: Reason = "invalid" if is_ours else "not_ours"
                dropped.append(DroppedFace(pending_face, reason, str(error)))
                continue
            if pending_face.deliveries > MAX_DELIVERIES:
                detail = f"delivered {pending_face.deliveries - 1} times without an outcome"
                dropped.append(DroppedFace(pending_face, "dead_lettered", detail, face))
            elif face.captured_us < stale_us:
                late_s = (stale_us - face.captured_us) / 1e6
                dropped.append(DroppedFace(pending_face, "stale", f"{late_s:.1f} s too late", face))
            else:
                try:
                    decode_crop(crop, self._rows[len(faces)])
                except ImageError as error:
                    detail = f"camera {face.camera}: {error}"
                    dropped.append(DroppedFace(pending_face, "invalid", detail, face))
                else:
                    faces.append((pending_face, face))
        return faces, dropped

    def _create_results(
        self, faces: list[DecodedFace], predictions: Predictions, dropped: list[DroppedFace]
    ) -> tuple[list[FaceResult], list[DroppedFace]]:
        results = []
        now = now_us()
        # Clipping keeps NaN, which means that there is no gender head.
        females = np.clip(predictions.female, 0.0, 1.0)
        if predictions.has_age:
            is_finite = np.isfinite(predictions.age) & np.isfinite(predictions.age_std)
        else:
            is_finite = np.isfinite(females)
        for i, (pending_face, face) in enumerate(faces):
            if not is_finite[i]:
                dropped.append(
                    DroppedFace(pending_face, "dead_lettered", "prediction is not finite", face)
                )
                continue
            result = Result(
                camera=face.camera,
                session=face.session,
                track=face.track,
                captured_us=face.captured_us,
                inferred_us=now,
                quality=face.quality,
                age=predictions.age[i],
                age_std=predictions.age_std[i],
                female=females[i],
                model=self._model,
                model_version=predictions.version,
            )
            if predictions.age_distribution is not None:
                result.age_distribution = pack_distribution(predictions.age_distribution[i])
            results.append(FaceResult(pending_face, result))
            self._metrics.face_latency.observe(max(0.0, (now - face.published_us) / 1e6))
        return results, dropped


def _drop_all(faces: Sequence[DecodedFace], reason: Reason, detail: str) -> list[DroppedFace]:
    return [DroppedFace(pending_face, reason, detail, face) for pending_face, face in faces]
