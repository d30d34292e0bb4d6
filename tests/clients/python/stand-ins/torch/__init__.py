"""Stands in for PyTorch, a gigabyte, in tests of OSS Connector: what its datasets import."""


class Tensor:
    pass
