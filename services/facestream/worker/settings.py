"""Settings of the worker."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from facestream.common.broker.keys import CROP_PX, DEFAULT_SHARDS
from facestream.common.core.names import is_model_name
from facestream.common.core.settings import CommonSettings


class WorkerSettings(CommonSettings):
    """Settings of the worker: model server, batching, age limit of faces, face streams."""

    section: ClassVar[str] = "worker"

    model_server_address: str = Field(
        "127.0.0.1:8500", description="HOST:PORT of the model server's gRPC API"
    )
    model_server_ca_file: Path | None = Field(
        None, description="PEM file with the CA of the model server; enables TLS"
    )
    model_server_cert_file: Path | None = Field(
        None,
        description="PEM file with the worker's client certificate, if the server requires one",
    )
    model_server_key_file: Path | None = Field(
        None, description="PEM file with the key of the client certificate"
    )
    model_names: tuple[str, ...] = Field(
        ("age_gender",), description="models whose outputs are merged, separated by commas"
    )
    model_input_px: int = Field(
        CROP_PX, ge=16, le=1024, description="side of the models' square input"
    )
    max_batch_size: int = Field(16, ge=1, le=128, description="maximum faces in one request")
    max_batch_delay_ms: float = Field(
        8.0,
        ge=0,
        le=1000,
        description="maximum time that the first face of a batch waits for others",
    )
    max_inflight_batches: int = Field(2, ge=1, le=32, description="maximum batches in flight")
    max_face_age_s: float = Field(
        2.0, gt=0, le=60, description="age at which a face is dropped as stale"
    )
    rpc_timeout_s: float = Field(2.0, gt=0, le=8, description="timeout of one request")
    face_shards: int = Field(
        DEFAULT_SHARDS,
        ge=1,
        le=256,
        description="number of face streams; must equal capture.face_shards",
    )
    claim_min_idle_s: float = Field(
        1.0, gt=0, le=600, description="a face pending for this long is claimed from its worker"
    )
    consumer_expiry_s: float = Field(
        60.0, gt=0, description="a worker idle for this long, without pending faces, is deleted"
    )
    health_host: str = Field("127.0.0.1", description="address of /livez, /readyz and /metrics")
    health_port: int = Field(
        9102, ge=0, le=65535, description="port of /livez, /readyz and /metrics; 0 = any free port"
    )

    @field_validator("model_names", mode="before")
    @classmethod
    def _split_models(cls, models: object) -> object:
        if isinstance(models, str):
            return tuple(name.strip() for name in models.split(",") if name.strip())
        return models

    @field_validator("model_server_address")
    @classmethod
    def _is_host_and_port(cls, target: str) -> str:
        host, _, port = target.rpartition(":")
        if not host or "/" in target or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError("write it as HOST:PORT")
        return target

    @model_validator(mode="after")
    def _has_models(self) -> WorkerSettings:
        if not self.model_names or len(set(self.model_names)) != len(self.model_names):
            raise ValueError("model_names: name at least one model, each only once")
        for name in self.model_names:
            if not is_model_name(name):
                raise ValueError(
                    f"model_names: {name[:40]!r} is invalid; use at most 64 letters, digits, "
                    "_, . and -, and start with a letter or digit"
                )
        return self

    @model_validator(mode="after")
    def _is_tls_complete(self) -> WorkerSettings:
        own = (self.model_server_cert_file, self.model_server_key_file)
        if any(own) and (self.model_server_ca_file is None or not all(own)):
            raise ValueError(
                "set model_server_cert_file and model_server_key_file together, and "
                "model_server_ca_file"
            )
        return self
