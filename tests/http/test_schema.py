"""Requests made from the OpenAPI document: no server error, and no answer that the document does not know."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from latentstore.server import create_key
from latentstore.sql import Limits
from tests.http.conftest import serving

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# What a path names is there, so that requests reach what answers them.
CONFIG = '[parameters]\n"path.space" = "small"\n"path.map" = "pca"\n"path.id" = "test/1"\n'


@pytest.mark.parametrize("role", ["write", "sql"])
def test_answers_are_as_documented(store: Path, tmp_path: Path, role: str, long: bool) -> None:
    key = create_key(store, role, "me")
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    with serving(store, sql=Limits(seconds=5, memory=256 << 20), key=key) as client:
        command = [
            *(str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(config)),
            *("run", f"{client.base_url}/openapi.json", "-H", f"Authorization: Bearer {key}"),
            *("--checks", CHECKS, "--phases", "coverage,fuzzing,stateful", "--seed", "1", "--no-color"),
            *("--max-time", "600" if long else "40", "--continue-on-failure", "--request-timeout", "60"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        asked = int(re.search(r"(\d+) generated", done.stdout)[1])
        assert asked >= 300, done.stdout[-3000:]
        assert client.get("/healthz").json()["status"] == "ok"
