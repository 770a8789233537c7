"""A store behind the HTTP service, asked with the same methods as one on this machine."""

from latentstore.client.remote_space import RemoteSpace
from latentstore.client.remote_store import RemoteStore, connect
from latentstore.client.results import RemoteLatent, RemotePath, RemoteSamples

__all__ = ["RemoteLatent", "RemotePath", "RemoteSamples", "RemoteSpace", "RemoteStore", "connect"]
