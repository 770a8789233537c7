"""The ASGI application: address, key, body, handler, answer; the same way for every route (but see `direct`).

A framework would spend more time on a request than a search takes (measured with Litestar: 120 µs beside 45 µs of the
bare protocol); what is needed of one is this file, the list of `routes`, and msgspec.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pyarrow as pa

from latentstore.errors import InputError, LatentStoreError
from latentstore.index import one_thread
from latentstore.server import limits, refusals
from latentstore.server.answers import identity
from latentstore.server.calls import Call, Content, Either, Service, Tabular, refuse_parameters
from latentstore.server.direct import Direct
from latentstore.server.guard import Guard
from latentstore.server.handlers import queries
from latentstore.server.heads import ALWAYS, NO_SNIFFING, Headers, Scope, answer_headers, text
from latentstore.server.logs import log_request, request_id
from latentstore.server.refusals import Refusal
from latentstore.server.routes import ARROW, COMMON, JSON, SAMPLING, SQL, Route, Router
from latentstore.types import whole_number

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger("latentstore.server")
WATCH = 0.5  # seconds between two looks at the keys, and for requests that take too long
# Threads beside those of `limits.running`, by the route's pool. SQL may wait for one of two sandboxes, and a sample
# for the mixture that the first one fits: what waits must not keep the others from their threads.
OWN_THREADS = {SQL: 2, SAMPLING: 1}
_encode, _ARROW = msgspec.json.Encoder().encode, ARROW.encode()


class App:
    """Serves a store.

    Args:
        service: What handlers work with.
        guard: Who may ask.
        router: Routes.

    Attributes:
        direct: Answers the searches that need no task.
    """

    def __init__(self, service: Service, guard: Guard, router: Router) -> None:
        self._service, self._guard, self._metrics, self._router = service, guard, service.metrics, router
        self._limits = service.limits
        self.direct = Direct(service, guard, router)
        self._pools = {
            pool: ThreadPoolExecutor(threads, f"latentstore-{pool}")
            for pool, threads in {COMMON: self._limits.running, **OWN_THREADS}.items()
        }
        self._pending = dict.fromkeys(self._pools, 0)
        self._open: dict[asyncio.Task[Any] | None, float] = {}
        self._decoders: dict[type, msgspec.json.Decoder[Any]] = {}
        self._watcher: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or start and stop."""
        if scope["type"] != "http":
            await (self._live(receive, send) if scope["type"] == "lifespan" else send({"type": "websocket.close"}))
            return
        began = perf_counter()
        headers = dict(scope["headers"])
        asked = request_id(text(headers, b"x-request-id"))
        template, key, more, unexpected = "unknown", "", ALWAYS, False
        task = asyncio.current_task()
        self._open[task] = began
        try:
            self._guard.check_headers(scope["headers"], headers)
            route, path = self._route(scope)
            template = route.path
            key = self._guard.check_key(text(headers, b"authorization"), route.right)
            body = await self._body(route, headers, receive)
            content, media, more = await self._reply(route, path, scope, body, headers)
            status = 200
        except LatentStoreError as error:
            status, content, media = refusals.status_of(error), _encode(refusals.body_of(error)), JSON
            more = (*ALWAYS, *(error.headers if isinstance(error, Refusal) else ()))
            if status >= 500:
                log.error("refused", extra={"request": asked, "path": template, "error": str(error)})
        except asyncio.CancelledError:
            if task in self._open:
                raise  # by someone else: the service stops
            slow = limits.too_slow(self._limits.seconds)
            status, content, media, more = slow.status, _encode(refusals.body_of(slow)), JSON, (*ALWAYS, *slow.headers)
        except _Gone:
            return
        except Exception:
            log.exception("unexpected", extra={"request": asked, "path": template})
            status, content, media, unexpected = 500, _encode(refusals.UNEXPECTED), JSON, True
        finally:
            self._open.pop(task, None)
        answer = answer_headers(media, len(content), asked, more)
        await send({"type": "http.response.start", "status": status, "headers": answer})
        await send({"type": "http.response.body", "body": content})
        seconds = perf_counter() - began
        self._metrics.observe(template, status, seconds)
        log_request(scope, asked, status, key, seconds, unexpected=unexpected)

    def _route(self, scope: Scope) -> tuple[Route, dict[str, str]]:
        found = self._router.find(scope["method"], scope.get("raw_path") or scope["path"].encode())
        if isinstance(found, tuple):
            return found
        if not found:
            raise Refusal(404, "NoSuchAddress", f"nothing is at {scope['path'][:200]!r}; see /docs")
        allowed = ", ".join(sorted(set(found)))
        headers = ((b"allow", allowed.encode()),)
        raise Refusal(405, "MethodRefused", f"{scope['method'][:20]} is not for this address; use {allowed}", headers)

    async def _body(self, route: Route, headers: dict[bytes, bytes], receive: Receive) -> Any:
        """The decoded body; nothing of it is read before the key was checked."""
        if route.body is None and not route.uploads:
            return None
        media = text(headers, b"content-type") or ""
        if media != JSON or route.body is None:
            media = media.partition(";")[0].strip().lower()
            expected = (*((JSON,) if route.body else ()), *route.uploads)
            if media not in expected:
                raise Refusal(
                    415, "MediaRefused", f"the body is {media[:100] or 'of no type'!r}; send {', '.join(expected)}"
                )
        length = text(headers, b"content-length")
        if length is not None and (whole_number(length) or 0) > self._limits.body:
            raise limits.too_large(self._limits.body)
        content, more = b"", True
        parts: list[bytes] = []
        size = 0
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size > self._limits.body:
                raise limits.too_large(self._limits.body)
            parts.append(part)
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        if media != JSON:
            return content
        assert route.body is not None
        return self._decoded(route.body, content)

    def _decoded(self, kind: type, content: bytes) -> Any:
        decoder = self._decoders.get(kind)
        if decoder is None:
            decoder = self._decoders[kind] = msgspec.json.Decoder(kind)
        try:
            return decoder.decode(content)
        except msgspec.ValidationError as error:
            raise InputError(f"the body does not fit: {error}; see /docs for its fields") from error
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise Refusal(400, "JsonInvalid", f"the body is no JSON ({error}); send a JSON object") from error

    async def _reply(
        self, route: Route, path: dict[str, str], scope: Scope, body: Any, headers: dict[bytes, bytes]
    ) -> tuple[bytes, str, Headers]:
        """Content, its type and headers. What takes time, encoding included, is made in a thread."""
        query: dict[str, str] = {}
        if scope["query_string"]:
            query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
            refuse_parameters(query, route.parameters)
        if route.handler is queries.search:
            space = self._service.spaces.get(path["space"])
            as_json = _ARROW not in headers.get(b"accept", b"")
            found = queries.plain_search(self._service, space, body) if as_json else None
            if found is not None:
                return await found, JSON, ALWAYS
        call = Call(self._service, path, query, body)
        if route.inline:
            return self._encoded(route.handler(call), headers)
        if self._pending[route.pool] >= self._limits.running + self._limits.waiting:
            raise limits.too_busy(self._limits.waiting)
        self._pending[route.pool] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pools[route.pool], lambda: self._encoded(route.handler(call), headers)
            )
        finally:
            self._pending[route.pool] -= 1

    def _encoded(self, reply: Any, headers: dict[bytes, bytes]) -> tuple[bytes, str, Headers]:
        if isinstance(reply, Content):
            return reply.content, reply.media, (NO_SNIFFING, *reply.headers)
        if isinstance(reply, Tabular | Either):
            about = tuple((f"x-latentstore-{k}".encode(), str(v).encode()) for k, v in reply.about.items())
            if ARROW in (text(headers, b"accept") or ""):
                return _as_arrow(reply.table), ARROW, (*ALWAYS, *about)
            body = reply.body() if isinstance(reply, Either) else reply.to_json()
            return _encode(body), JSON, (*ALWAYS, *about)
        return _encode(reply), JSON, ALWAYS

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                one_thread()  # of the loop's searches, which are short; longer ones run in threads of their own
                self._service.spaces.watch()
                await self._follow()
                self._watcher = asyncio.create_task(self._watch())
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._watcher is not None:
                    self._watcher.cancel()
                self._service.spaces.close()
                self._service.searchers.close()
                for pool in self._pools.values():
                    pool.shutdown(wait=False, cancel_futures=True)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH)
            late = perf_counter() - self._limits.seconds
            for task in [task for task, began in self._open.items() if began < late]:
                del self._open[task]
                if task is not None:
                    task.cancel()
            self.direct.refuse_late(late)
            await self._follow()
            try:
                self._guard.reload()
            except LatentStoreError as error:  # the keys that are known stay
                log.error("the keys cannot be read", extra={"error": str(error)})

    async def _follow(self) -> None:
        await self._service.searchers.follow(
            {name: (one.space.version, identity(one.space)) for name, one in self._service.spaces.served.items()}
        )


class _Gone(Exception):
    """The caller went away."""


def _as_arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
