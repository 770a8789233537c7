"""Deny by default: every route asks for its right, and for the right host, before it reads anything."""

from __future__ import annotations

import time

import pytest

from latentstore.errors import AlreadyExists, ConfigInvalid, NotFound
from latentstore.server import create_key, make_app, read_keys, revoke_key
from latentstore.server.guard import PUBLIC
from latentstore.server.keys import ROLES
from latentstore.server.routes import ROUTES

TELL_NOTHING = {"/healthz", "/docs", "/openapi.json", "/", "/static/{name*}"}


def address(route):
    names = {"space": "small", "id*": "test/17", "map": "pca", "name*": "explorer.html"}
    path = route.path
    for name, value in names.items():
        path = path.replace("{" + name + "}", value)
    return path


def ask(client, route, **headers):
    return client.request(route.method, address(route), content=b"{}", headers=headers)


def test_only_what_tells_nothing_is_public():
    assert {route.path for route in ROUTES if route.right == PUBLIC} == TELL_NOTHING
    assert all(route.right in {right for rights in ROLES.values() for right in rights} | {PUBLIC} for route in ROUTES)


def test_every_route_asks_for_its_right(store, serve):
    made = {role: create_key(store, role, role) for role in ROLES}
    client = serve()
    for route in ROUTES:
        bare = ask(client, route)
        wrong = ask(client, route, authorization="Bearer ls_" + "x" * 43)
        if route.right == PUBLIC:
            assert bare.status_code == 200, route
            continue
        assert (bare.status_code, bare.json()["error"]["type"]) == (401, "KeyMissing"), route
        assert (wrong.status_code, wrong.json()["error"]["type"]) == (401, "KeyUnknown"), route
        assert bare.headers["www-authenticate"].startswith("Bearer")
        for role, key in made.items():
            answer = ask(client, route, authorization=f"Bearer {key}")
            if route.right in ROLES[role]:
                assert answer.status_code not in (401, 403) or answer.json()["error"]["type"] == "SqlOff", (route, role)
            else:
                assert (answer.status_code, answer.json()["error"]["type"]) == (403, "KeyInsufficient"), (route, role)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT"])
def test_another_host_or_page_is_refused_on_all_methods(client, method):
    for headers, kind in (
        ({"host": "evil.example"}, "HostRefused"),
        ({"host": "127.0.0.1.evil.example"}, "HostRefused"),
        ({"origin": "http://evil.example"}, "OriginRefused"),
        ({"origin": "null"}, "OriginRefused"),
    ):
        answer = client.request(method, "/v1/spaces", headers=headers)
        assert answer.status_code == 403
        assert method == "HEAD" or answer.json()["error"]["type"] == kind
    own = str(client.base_url)[:-1] if str(client.base_url).endswith("/") else str(client.base_url)
    assert client.get("/v1/spaces", headers={"origin": own}).status_code == 200


def test_keys_are_shown_once_and_kept_as_hashes(store):
    made = create_key(store, "read", "me")
    assert made not in (store / "keys.json").read_text()
    assert (store / "keys.json").stat().st_mode & 0o077 == 0
    with pytest.raises(AlreadyExists, match="'me'"):
        create_key(store, "sql", "me")
    with pytest.raises(ConfigInvalid, match="unknown role 'root'"):
        create_key(store, "root", "you")
    with pytest.raises(NotFound, match="'you'"):
        revoke_key(store, "you")
    revoke_key(store, "me")
    assert read_keys(store) == {}


def test_a_running_service_hears_of_new_and_revoked_keys(store, serve):
    client = serve()
    assert client.get("/v1/spaces").status_code == 200  # nobody has a key: this machine may ask
    key = create_key(store, "read", "me")
    until(lambda: client.get("/v1/spaces").status_code == 401)
    client.headers["authorization"] = f"Bearer {key}"
    assert client.get("/v1/spaces").status_code == 200
    create_key(store, "write", "you")
    revoke_key(store, "me")
    until(lambda: client.get("/v1/spaces").status_code == 401)


def test_others_may_reach_it_with_a_key_only(store):
    for host in ("0.0.0.0", "192.168.1.5", "::"):
        with pytest.raises(ConfigInvalid, match="needs a key; make one: latentstore key create"):
            make_app(store, host=host)
    create_key(store, "read", "me")
    make_app(store, host="0.0.0.0")


def until(true, seconds=20):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
