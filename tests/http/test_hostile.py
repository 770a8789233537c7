"""Requests that mean harm: each is refused cleanly, tells nothing of files, and the service goes on."""

from __future__ import annotations

import io
import json
import socket
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

SPACE = "/v1/spaces/small"
JSON = {"content-type": "application/json"}


def png(width: int, height: int, data: bytes, extra: bytes = b"") -> bytes:
    """A PNG file whose header says what it likes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def chunk_bomb() -> bytes:
    content = b"Comment\0\0" + zlib.compress(b"\0" * 80_000_000, 1)
    bomb = struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(">I", zlib.crc32(b"zTXt" + content))
    return png(28, 28, b"\0" * 29 * 28, bomb)


def gif(size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros(size, np.uint8)).save(file, "GIF")
    return file.getvalue()


PATHS = [
    "/v1/spaces/../../etc/passwd",
    "/v1/spaces/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/v1/spaces/small/../../../etc/passwd",
    "/static/../app.py",
    "/static/%2e%2e/app.py",
    "/static/..%2fapp.py",
    "/static//etc/passwd",
    "/static/%00",
    "/static/explorer.html%00.js",
    "/static/plotly.min.js/../../x",
    "//etc/passwd",
    "/v1/spaces/%ff",
    "/v1/spaces/small%0a",
    f"{SPACE}/items/..%2f..%2fkeys.json",
    f"{SPACE}/items/%00/image",
    f"{SPACE}/maps/..%2f..%2fsegments",
    f"{SPACE}/maps/pca?columns=vector",
    f"{SPACE}/maps/pca?columns=../x",
    f"{SPACE}/maps/pca?callback=alert(1)",
    f"{SPACE}?at=../../x",
    f"{SPACE}?at=-1",
    f"{SPACE}?at=99999999999999999999999",
    f"{SPACE}?at={'9' * 6000}",
    f"{SPACE}?at=%C2%B2",
    f"{SPACE}/diff?old=%C2%B2",
    f"{SPACE}?debug=true",
    f"{SPACE}/items?where=1=1;DROP TABLE small",
    f"{SPACE}/items?where=read_text('/etc/passwd')='x'",
    f"{SPACE}/items?where=id in (select 1)",
    "/v1",
    "/admin",
    "/.git/config",
    "/keys.json",
    "/store.json",
]

HUGE = b"1" + b"0" * 400  # no float has it
WIDE = [("search", b"query"), ("search", b"positive"), ("edit", b"query"), ("decode", b"latents"), ("place", b"query")]
BODIES = [
    ("search", b""),
    ("search", b"["),
    ("search", b"null"),
    ("search", b"[]"),
    ("search", b'"x"'),
    ("search", b"{" * 100_000),
    ("search", b'{"query":' + b"[" * 100_000),
    ("search", b'{"query":"\'test/1\'","k":1e309}'),
    ("search", b'{"query":"\'test/1\'","k":-1}'),
    ("search", b'{"query":"\'test/1\'","k":"10"}'),
    ("search", b'{"query":"\'test/1\'","k":99999999999999999999999999}'),
    ("search", b'{"query":[NaN,1,1,1,1,1]}'),
    ("search", b'{"query":[1e39,0,0,0,0,0]}'),
    ("search", b'{"query":[[1],[1,2]]}'),
    *((name, b'{"' + field + b'":[[' + HUGE + b",0,0,0,0,0]]}") for name, field in WIDE),
    ("search", b'{"query":[1.0,[1.0]]}'),
    ("search", b'{"query":"\'test/1\'","columns":["label","label"]}'),
    ("rows", b'{"ids":["test/1"],"columns":["label","label"]}'),
    ("search", b'{"query":[]}'),
    ("search", b'{"query":[[]]}'),
    ("search", b'{"query":[[[1]]]}'),
    ("search", b'{"query":{"$ne":1}}'),
    ("search", b"{}"),
    ("search", b'{"query":"\'test/1\'","__class__":"os"}'),
    ("search", b"{\"query\":\"__import__('os').system('id')\"}"),
    ("search", b'{"query":"' + b"(" * 50_000 + b'"}'),
    ("search", b'{"query":"' + b"-" * 50_000 + b'formal"}'),
    ("search", '{"query":"\'\ud800\'"}'.encode("utf-8", "surrogatepass")),
    ("search", b"\xff\xfe{}"),
    ("search", b'{"query":"\'test/1\'","where":"true; select 1"}'),
    ("search", b'{"query":"\'test/1\'","where":"' + b"(" * 20_000 + b'"}'),
    ("search", b'{"query":"\'test/1\'","where":"getenv(\'HOME\') = \'\'"}'),
    ("search", b'{"query":"\'test/1\'","columns":["vector"]}'),
    ("search", b'{"query":"\'test/1\'","at":"../../x"}'),
    ("search", b'{"query":"\'test/1\'","radius":1e400}'),
    ("search", b'{"query":"\'test/1\'","recall":-1}'),
    ("edit", b'{"query":"formal * 1e300 * 1e300"}'),
    ("edit", b'{"query":"formal"' + b" " * 1000 + b',"k":0}'),
    ("decode", b'{"latents":[]}'),
    ("decode", b'{"latents":[["x"]]}'),
    ("decode", b'{"points":[[1,2,3]],"map":"pca"}'),
    ("decode", b'{"points":[[1,2]],"map":"../pca"}'),
    ("decode", b"{}"),
    ("place", b'{"query":"formal","map":""}'),
    ("interpolate", b'{"from":"formal","to":"formal","steps":-5}'),
    ("interpolate", b'{"from":"formal"}'),
    ("interpolate", b'{"from":"formal","to":"formal","method":"os.system"}'),
    ("interpolate", b'{"from":"formal","to":"formal","smoothing":1e308,"method":"graph"}'),
    ("grid", b'{"anchors":[]}'),
    ("grid", b'{"anchors":["formal","formal","formal"],"rows":-1}'),
    ("grid", b'{"anchors":["formal","formal","formal"],"rows":100000,"columns":100000}'),
    ("sample", b'{"n":0}'),
    ("sample", b'{"seed":-1}'),
    ("sample", b'{"label":"\\u0000"}'),
    ("sample", b'{"method":"eval"}'),
    ("pictures", b'{"ids":[]}'),
    ("pictures", b'{"ids":["../../etc/passwd"]}'),
    ("pictures", b'{"ids":[1]}'),
    ("attributes", b'{"name":"","positive":"true","negative":"false"}'),
    ("attributes", b'{"name":"x","positive":"true","negative":"true","method":"pickle"}'),
    ("items", b'{"ids":["a"],"vectors":[[1]]}'),
    ("items", b'{"ids":["a","b"],"vectors":[[1],[1,2]]}'),
    ("items", b'{"ids":[],"vectors":[[1],[]]}'),
    ("items", b'{"ids":["a","a"],"vectors":[[1,1,1,1,1,1],[1,1,1,1,1,1]]}'),
    ("items", b'{"ids":[""],"vectors":[[1,1,1,1,1,1]]}'),
    ("items", b'{"ids":["q"],"vectors":[[1,1,1,1,1,1]],"encoder":"../x"}'),
]

UPLOADS = {
    "nothing": b"",
    "text": b"hello",
    "a picture of 3.6 gigapixels": png(60_000, 60_000, b"\0" * 1000),
    "a picture of 25 megapixels": png(5_000, 5_000, b"\0" * 5_001 * 5_000),
    "a chunk of 80 MB": chunk_bomb(),
    "no pixels": png(0, 0, b""),
    "cut off": png(28, 28, b"\0" * 29 * 28)[:46],
    "pixels that are not there": png(28, 28, b"\0" * 3),
    "an SVG that reads a file": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(%pipe%id) (w) file\n",
    "a GIF of 25 megapixels": gif((5000, 5000)),
}


@pytest.mark.parametrize("path", PATHS)
def test_addresses(client, path):
    answer = raw(
        client, f"GET {path.replace(' ', '%20')} HTTP/1.1\r\nHost: {host(client)}\r\nConnection: close\r\n\r\n".encode()
    )
    refused(client, answer)


@pytest.mark.parametrize(("name", "body"), BODIES, ids=lambda one: repr(one[:40]) if isinstance(one, bytes) else one)
def test_bodies(client, name, body):
    answer = client.post(f"{SPACE}/{name}", content=body, headers=JSON)
    assert 400 <= answer.status_code < 500, answer.text[:300]
    told = answer.json()["error"]
    assert told["message"]
    assert len(answer.content) < 5000
    assert "Traceback" not in answer.text
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("what", UPLOADS)
def test_uploads(client, what):
    answer = client.post(f"{SPACE}/encode", content=UPLOADS[what], headers={"content-type": "image/png"})
    assert answer.status_code in (413, 422), answer.text[:300]
    assert answer.json()["error"]["hint"]


@pytest.mark.parametrize(
    "lines",
    [
        b"GET /v1/spaces HTTP/1.1\r\nHost: %h\r\nHost: evil.example\r\n\r\n",
        b"GET /v1/spaces HTTP/1.1\r\n\r\n",
        b"GET http://evil.example/v1/spaces HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /v1/spaces HTTP/1.1\r\nHost: evil.example:80@%h\r\n\r\n",
        b"GET /v1/spaces HTTP/1.1\r\nHost: %h\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /v1/spaces HTTP/1.1\r\nHost: %h\r\n" + b"X: a\r\n" * 20_000 + b"\r\n",
        b"GET /v1/spaces HTTP/9.9\r\nHost: %h\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
        b"POST /v1/spaces/small/search HTTP/1.1\r\nHost: %h\r\nContent-Type: application/json\r\n"
        b"Content-Length: -5\r\n\r\n{}",
        b"POST /v1/spaces/small/search HTTP/1.1\r\nHost: %h\r\nContent-Type: application/json\r\n"
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
        b"POST /v1/spaces/small/search HTTP/1.1\r\nHost: %h\r\nContent-Type: application/json\r\n"
        b"Content-Type: image/png\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/spaces/small/search HTTP/1.1\r\nHost: %h\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/spaces/small/search HTTP/1.1\r\nHost: %h\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/spaces/small/search HTTP/1.1\r\nHost: %h\r\nContent-Type: application/json\r\n"
        b"Content-Length: 99999999999\r\n\r\n{}",
        b"TRACE /v1/spaces HTTP/1.1\r\nHost: %h\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: %h\r\n\r\n",
        b"GET /v1/spaces HTTP/1.1\r\nHost: %h\r\nOrigin: http://%h.evil.example\r\n\r\n",
    ],
    ids=lambda one: repr(one[:50]),
)
def test_headers(client, lines):
    refused(client, raw(client, lines.replace(b"%h", host(client).encode())))


@pytest.mark.parametrize("given", ["x" * 200, "a b", "\u00e9\n", "../../x", "<script>"])
def test_request_ids_that_are_none_are_replaced(client, given):
    answer = client.get("/healthz", headers={"x-request-id": given.encode("latin-1", "replace").replace(b"\n", b"")})
    assert answer.headers["x-request-id"] != given
    assert client.get("/healthz", headers={"x-request-id": "job-17"}).headers["x-request-id"] == "job-17"


def test_an_error_of_ours_tells_nothing_of_the_machine(client):
    for path in ("/v1/spaces/nope", f"{SPACE}/items/nope", f"{SPACE}/maps/nope", f"{SPACE}?at=77"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "/tmp" not in answer.text
        assert ".store" not in answer.text


def host(client) -> str:
    return f"{client.base_url.host}:{client.base_url.port}"


def raw(client, sent: bytes) -> bytes:
    """What the service says to bytes that no library would send, until it is silent."""
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as connection:
        try:
            connection.sendall(sent)
        except (BrokenPipeError, ConnectionResetError):
            return b""
        connection.settimeout(2)
        said = b""
        try:
            while part := connection.recv(65536):
                said += part
                head, _, body = said.partition(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                if length and len(body) >= int(length[0].split(b":")[1]):
                    break
        except (TimeoutError, ConnectionResetError):
            pass
    return said


def refused(client, answer: bytes) -> None:
    """A connection closed without a word is a refusal, too; anything said is 4xx, and of no file."""
    if answer:
        status = int(answer.split(b" ", 2)[1])
        assert 400 <= status < 500, answer[:300]
        assert b"root:" not in answer
        body = answer.partition(b"\r\n\r\n")[2]
        if body.startswith(b"{"):
            assert json.loads(body)["error"]["message"]
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"query":"SELECT $q","parameters":{"q":' + HUGE + b"}}",
        b'{"query":"FROM neighbours(\'small\', $q, 1)","parameters":{"q":[0,0,0,0,0,' + HUGE + b"]}}",
        b'{"query":"FROM neighbours(\'small\', $q, 1) JOIN small USING (id)","parameters":{"q":[1,2,3,4,5,'
        + HUGE
        + b"]}}",
        b'{"query":"SELECT \'\\ud800\'"}',
    ],
)
def test_bodies_of_sql(client, body):
    answer = client.post("/v1/sql", content=body, headers=JSON)
    assert answer.status_code in (400, 422), answer.text
    assert len(answer.content) < 500
    assert client.post("/v1/sql", json={"query": "SELECT 1 AS a"}).json()["columns"] == [[1]]


def test_an_answer_that_would_fill_the_memory_is_refused(client):
    answer = client.post("/v1/sql", json={"query": "SELECT true FROM range(6000000)"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "LimitExceeded")
    assert client.get("/healthz").status_code == 200


def test_a_request_may_follow_a_large_body_at_once(client):
    body = b'{"query":"\'test/1\'"' + b" " * 100_000 + b"}"
    first = (
        f"POST {SPACE}/search HTTP/1.1\r\nHost: {host(client)}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    answer = raw(client, first.encode() + body + f"GET /healthz HTTP/1.1\r\nHost: {host(client)}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
