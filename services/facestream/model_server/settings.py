"""Settings of the embedded model server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from facestream.common.core.paths import MODELS_DIR
from facestream.common.core.settings import CommonSettings


class ModelServerSettings(CommonSettings):
    """Where the models are, where to listen, how much of the machine to use."""

    section: ClassVar[str] = "model_server"

    models_dir: Path = Field(
        MODELS_DIR, description="folder of <model>/<version>/saved_model.pb, polled"
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8500, ge=0, le=65535, description="gRPC port; 0 takes any free one")
    tls_cert_file: Path | None = Field(None, description="PEM file with a certificate: gRPC by TLS")
    tls_key_file: Path | None = Field(None, description="PEM file with the certificate's key")
    tls_client_ca_file: Path | None = Field(
        None, description="PEM file: only clients whose certificate it vouches for are answered"
    )
    model_poll_interval_s: float = Field(
        2.0, gt=0, le=3600, description="time between looks into the models folder"
    )
    # Each takes memory; eight answer a thousand faces a second and more.
    max_concurrent_inferences: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 8),
        ge=1,
        le=256,
        description="inferences at a time, each on one thread",
    )
    inference_precision: Literal["auto", "f32", "bf16", "f16"] = Field(
        "auto",
        description="arithmetic of the inference; f32 answers as TensorFlow does, auto is bf16 "
        "where the CPU multiplies it and f32 elsewhere",
    )
    max_batch_size: int = Field(128, ge=1, le=4096, description="faces in one request at most")
    health_host: str = Field("127.0.0.1", description="address of /livez, /readyz and /metrics")
    health_port: int = Field(9103, ge=0, le=65535, description="their port; 0 takes any free one")

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("TLS needs both tls_cert_file and tls_key_file")
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError("tls_client_ca_file needs tls_cert_file and tls_key_file")
        return self
