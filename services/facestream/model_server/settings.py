"""Settings of the embedded model server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from facestream.common.core.paths import MODELS_DIR
from facestream.common.core.settings import CommonSettings


class ModelServerSettings(CommonSettings):
    """Settings of the model server: models folder, addresses, TLS, resources."""

    section: ClassVar[str] = "model_server"

    models_dir: Path = Field(
        MODELS_DIR, description="folder of <model>/<version>/saved_model.pb; polled for changes"
    )
    models_config_file: Path | None = Field(
        None,
        description="models.config of TensorFlow Serving with versions and labels; without it, the "
        "newest version of each model is served",
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8500, ge=0, le=65535, description="gRPC port; 0 = any free port")
    tls_cert_file: Path | None = Field(None, description="PEM file with a certificate; enables TLS")
    tls_key_file: Path | None = Field(None, description="PEM file with the certificate's key")
    tls_client_ca_file: Path | None = Field(
        None,
        description="PEM file with a CA; only clients with a certificate of this CA may connect",
    )
    model_poll_interval_s: float = Field(
        2.0, gt=0, le=3600, description="interval between scans of the models folder"
    )
    # Each takes memory. Eight process more than 1,000 faces per second.
    max_concurrent_inferences: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 8),
        ge=1,
        le=256,
        description="maximum concurrent inferences, each on one thread",
    )
    inference_precision: Literal["auto", "f32", "bf16", "f16"] = Field(
        "auto",
        description="arithmetic precision; f32 gives the predictions of TensorFlow, auto is bf16 "
        "on CPUs with bf16 instructions and f32 on others",
    )
    max_batch_size: int = Field(128, ge=1, le=4096, description="maximum faces in one request")
    health_host: str = Field("127.0.0.1", description="address of /livez, /readyz and /metrics")
    health_port: int = Field(
        9103, ge=0, le=65535, description="port of /livez, /readyz and /metrics; 0 = any free port"
    )

    @model_validator(mode="after")
    def _is_tls_complete(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("set tls_cert_file and tls_key_file together")
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError("tls_client_ca_file requires tls_cert_file and tls_key_file")
        return self
