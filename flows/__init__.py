"""Prefect flows: train, embed, index, concepts, maps, evaluate, and refresh, which is all of them."""
