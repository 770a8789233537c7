"""The HTTP service of a store: the same words as in Python, safe by default, one snapshot an answer."""

from latentstore.server.keys import ROLES, create_key, read_keys, revoke_key
from latentstore.server.limits import ServerLimits
from latentstore.server.searchers import spare_cores
from latentstore.server.serving import make_app, serve

__all__ = ["ROLES", "ServerLimits", "create_key", "make_app", "read_keys", "revoke_key", "serve", "spare_cores"]
