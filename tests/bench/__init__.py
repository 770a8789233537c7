"""Benchmarks: latentstore beside other vector databases and bare FAISS, in one run, on the same data."""
