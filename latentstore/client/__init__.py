"""A store behind the HTTP service, asked with the same methods as one on this machine."""

from latentstore.client.remote_space import RemoteLatent, RemotePath, RemoteSamples, RemoteSpace
from latentstore.client.remote_store import RemoteStore, connect

__all__ = ["RemoteLatent", "RemotePath", "RemoteSamples", "RemoteSpace", "RemoteStore", "connect"]
