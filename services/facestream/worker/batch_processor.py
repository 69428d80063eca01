"""What is done to one batch: sort out, decode, ask.

Arrivals go in; what is to become of each comes out, for the outbox to settle. One processor per
batch under way: it keeps the memory that crops are decoded into.
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
from facestream.worker.face_consumer import PendingFace
from facestream.worker.metrics import WorkerMetrics
from facestream.worker.result_committer import DroppedFace, FaceResult
from facestream.worker.serving_client import ModelServerUnavailableError, Predictions, ServingClient

# A face that was handed out so often without an answer is taken to be the cause. Each hand-over
# takes `claim_min_idle_s`: at a third one a face would be stale, whatever it did to its workers.
MAX_DELIVERIES = 2

Read = tuple[PendingFace, FaceCrop]


class BatchProcessor:
    """Not thread-safe; every thread has its own.

    Args:
        deadline_s: age at which a face is dropped as stale.
        input_px: side of the model's input.
        stop: ends the waiting for a model server that is away.
    """

    def __init__(
        self,
        client: ServingClient,
        metrics: WorkerMetrics,
        *,
        models: Sequence[str],
        max_batch_size: int,
        input_px: int,
        deadline_s: float,
        stop: threading.Event,
    ) -> None:
        self._client, self._metrics = client, metrics
        self._model = ",".join(models)
        self._deadline_us = int(deadline_s * 1e6)
        self._rows = np.empty((max_batch_size, input_px, input_px, 3), np.uint8)
        self._stop = stop

    def process(self, batch: Sequence[PendingFace]) -> tuple[list[FaceResult], list[DroppedFace]]:
        """Decode and ask; what is to become of each face of the batch, to be settled.

        A face that is in neither list stays pending: it is redelivered to whoever claims it.
        """
        faces, dropped = self._partition(batch)
        if not faces:
            return [], dropped
        self._metrics.batch_size.observe(len(faces))
        newest_us = max(face.captured_us for _, face in faces)
        # No longer than that, should somebody have set the clock back since.
        left_s = min(newest_us + self._deadline_us - now_us(), self._deadline_us) / 1e6
        try:
            answers = self._client.predict_with_retry(
                self._rows[: len(faces)], time.monotonic() + left_s, self._stop
            )
        except ModelServerUnavailableError as error:
            if self._stop.is_set():
                return [], dropped
            why = f"model server away: {error}"
            return [], dropped + [DroppedFace(a, "stale", why, face) for a, face in faces]
        except ModelError as error:
            return [], dropped + [
                DroppedFace(a, "dead_lettered", str(error), face) for a, face in faces
            ]
        return self._answer(faces, answers, dropped)

    def _partition(self, batch: Sequence[PendingFace]) -> tuple[list[Read], list[DroppedFace]]:
        """Those worth asking for, decoded into the first rows, and the others."""
        faces: list[Read] = []
        dropped: list[DroppedFace] = []
        stale_us = now_us() - self._deadline_us
        for arrival in batch:
            try:
                face, crop = decode_face(arrival.fields)
            except MessageError as error:
                not_ours = MESSAGE_FIELD not in arrival.fields
                dropped.append(
                    DroppedFace(arrival, "not_ours" if not_ours else "invalid", str(error))
                )
                continue
            if arrival.deliveries > MAX_DELIVERIES:
                why = f"delivered {arrival.deliveries - 1} times without an answer"
                dropped.append(DroppedFace(arrival, "dead_lettered", why, face))
            elif face.captured_us < stale_us:
                late_s = (stale_us - face.captured_us) / 1e6
                dropped.append(DroppedFace(arrival, "stale", f"{late_s:.1f} s too late", face))
            else:
                try:
                    decode_crop(crop, self._rows[len(faces)])
                except ImageError as error:
                    why = f"camera {face.camera}: {error}"
                    dropped.append(DroppedFace(arrival, "invalid", why, face))
                else:
                    faces.append((arrival, face))
        return faces, dropped

    def _answer(
        self, faces: list[Read], answers: Predictions, dropped: list[DroppedFace]
    ) -> tuple[list[FaceResult], list[DroppedFace]]:
        answered = []
        now = now_us()
        # Clipping keeps NaN, which says that there is no gender head.
        females = np.clip(answers.female, 0.0, 1.0)
        if answers.has_age:
            sound = np.isfinite(answers.age) & np.isfinite(answers.age_std)
        else:
            sound = np.isfinite(females)
        for i, (arrival, face) in enumerate(faces):
            if not sound[i]:
                dropped.append(
                    DroppedFace(arrival, "dead_lettered", "the model's answer is no number", face)
                )
                continue
            result = Result(
                camera=face.camera,
                session=face.session,
                track=face.track,
                captured_us=face.captured_us,
                inferred_us=now,
                quality=face.quality,
                age=answers.age[i],
                age_std=answers.age_std[i],
                female=females[i],
                model=self._model,
                model_version=answers.version,
            )
            if answers.age_distribution is not None:
                result.age_distribution = pack_distribution(answers.age_distribution[i])
            answered.append(FaceResult(arrival, result))
            self._metrics.face_latency.observe(max(0.0, (now - face.published_us) / 1e6))
        return answered, dropped
